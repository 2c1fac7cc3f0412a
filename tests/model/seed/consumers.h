/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * consumers.h - two consumers of one list without a tag, in our own words
 *
 * The kernel's alloc_bulk() took objects one by one from a list that a callback on another CPU took whole;
 * it has been mended upstream.  As protocol.h, which says what else who includes this provides.
 */
#ifndef BMA_TEST_SEED_CONSUMERS_H
#define BMA_TEST_SEED_CONSUMERS_H

struct node {
	PORT_ATOMIC(struct node *) next;
	PORT_ATOMIC(uint32_t) owned; /* not on the list */
};

static struct node node[2];
static PORT_ATOMIC(struct node *) first;

static void own(struct node *n)
{
	if (n && port_xchg(&n->owned, 1, seq_cst))
		seed_fail("an object has two owners");
}

static struct node *del_first(void)
{
	struct node *n = port_load(&first, seq_cst), *next;

	do {
		if (!n)
			return NULL;
		next = port_load(&n->next, seq_cst);
	} while (!port_cas(&first, &n, next, seq_cst));
	own(n);
	return n;
}

/* A refill, which takes what waits one by one. */
static void take_one_by_one(void)
{
	del_first();
	del_first();
}

/* A callback on another CPU takes all; the first is handed out and freed again, the second is kept. */
static void take_all_and_add(void)
{
	struct node *n = port_xchg(&first, NULL, seq_cst);

	if (!n)
		return;
	own(n);
	own(port_load(&n->next, seq_cst));
	port_store(&n->owned, 0, seq_cst);
	port_store(&n->next, port_load(&first, seq_cst), seq_cst);
	port_store(&first, n, seq_cst);
}

static void setup_list(void)
{
	port_store(&node[0].owned, 0, relaxed);
	port_store(&node[1].owned, 0, relaxed);
	port_store(&node[0].next, &node[1], relaxed);
	port_store(&node[1].next, NULL, relaxed);
	port_store(&first, &node[0], relaxed);
}

#endif /* BMA_TEST_SEED_CONSUMERS_H */
