/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * private.h - what the files of this home share
 *
 * `model` is part of the state: kept, restored and recognized with it.  `explorer` points to what is not:
 * what the search knows, in memory that no state covers.
 */
#ifndef BMA_MODEL_PRIVATE_H
#define BMA_MODEL_PRIVATE_H

#include <setjmp.h>

#include "model.h"

#include <bma/rcu.h>

#define STACK_BYTES (16u << 10)
#define MAX_LATE 8
#define MAX_ACTIONS 32
#define MAX_STEPS 20000
#define MAX_ALONE 1000000

/* Where the model's memory lies: below 1 << PORT_ADDR_BITS, and above what the system keeps. */
#define ARENA_BASE ((char *)0x80000)
#define ARENA_BYTES (1u << 17)

/* A store that has not reached memory. */
struct late {
	void *p;
	uint64_t v;
	const struct model_site *site;
	uint8_t size;
	bool release; /* after all that came before it */
	bool seq_cst; /* before the thread's next sequentially consistent load */
};

struct model_thread {
	void *sp;
	void (*fn)(void);
	void (*handler)(void);
	bool done, daemon;
	bool deliver; /* run the handler now */
	bool in_sequence, restart;
	const struct model_site *site; /* of what it does next */
	bool (*ready)(void *arg); /* it sleeps until then */
	void *ready_arg;
	unsigned int choices, choice; /* it asks which of so many */
	unsigned int cpu;
	struct bpf_rcu_reader_ *reader;
	unsigned int nr_late;
	struct late late[MAX_LATE];
};

struct model {
	struct model_thread thread[MODEL_THREADS];
	unsigned int nr_threads;
	int self; /* who runs; -1: nobody, and there are no points */
	int current; /* who ran last; -1: nobody yet */
	unsigned int asked; /* others_stand(): threads that are asking */
	int played; /* whose record is made, before there are threads */
	unsigned int late, migrations, fails; /* left */
	unsigned int nr_cpus;
	bool fences, sequences, flavor;
	bool forked; /* this is the child now */
	const void *late_at;
	uint64_t last; /* what the last access found */
	char *arena_next;
};

extern struct model model;

enum action_kind { RUN, CHOOSE, DELIVER, STORE };

typedef uint16_t action_t;

#define ACTION(kind, thread, n) ((action_t)((kind) << 12 | (thread) << 8 | (n)))

struct explorer {
	const struct model_scenario *scenario;
	void *sp; /* of the search, while a thread runs */
	jmp_buf fault;
	const char *failure;
	bool tracing, out_of_time;
	double seconds; /* that the search took */
	unsigned int preemptions; /* left */
	unsigned int steps;
	unsigned int alone; /* accesses since the threads came to their ends */
	action_t schedule[MAX_STEPS];
	uint64_t executions, states, pruned;
};

extern struct explorer *explorer;

/* thread.c */
void thread_start(unsigned int nr, void (*fn)(void), void (*handler)(void));
void thread_resume(unsigned int nr);
void point(const struct model_site *site);
bool others_stand(unsigned int nr);
unsigned int choose(unsigned int n, unsigned int *budget);
char *thread_stack_top(unsigned int nr);
void threads_map(void);
static inline struct model_thread *self(void)
{
	return &model.thread[model.self];
}

/* memory.c */
bool late_can_go(const struct model_thread *t, unsigned int n);
void late_go(struct model_thread *t, unsigned int n);
void late_all_go(struct model_thread *t);

/* heap.c */
void heap_map(void);
void heap_check_access(const void *p);
bool heap_is_magazine(const void *p);
void heap_check_end(void);

/* state.c */
struct state;
struct state *state_new(void);
void state_keep(struct state *s);
void state_restore(const struct state *s);
uint64_t state_hash(void);
void state_free(struct state *s);
bool state_seen(uint64_t hash, unsigned int preemptions);
void states_forget(void);

/* explore.c */
struct limits {
	struct model_bound bound;
	uint64_t random; /* so many executions by chance, not all */
	unsigned int depth;
	uint64_t seed;
	double seconds; /* 0: as long as it takes */
};

enum verdict { ALL, OUT_OF_TIME, FAILED };

enum verdict explore(const struct model_scenario *s, const struct limits *limits);
double cpu_seconds(void); /* of this process so far */
bool replay(const struct model_scenario *s, const struct model_bound *bound,
	    const action_t *schedule, unsigned int steps);

#endif /* BMA_MODEL_PRIVATE_H */
