// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * kmalloc_like.c - objects of different sizes from one allocator
 *
 *	cc kmalloc_like.c $(pkg-config --cflags --libs bma) -o kmalloc_like
 */
#include <stdio.h>
#include <string.h>
#include <bma/bpf_mem_alloc.h>
#include <bma/stats.h>

/* A copy of @text in as many bytes as it needs; NULL if there is no memory. */
static char *copy(struct bpf_mem_alloc *ma, const char *text)
{
	char *p = bpf_mem_alloc(ma, strlen(text) + 1);

	return p ? strcpy(p, text) : NULL;
}

int main(void)
{
	static const char *const texts[] = {
		"short",
		"not quite as short, so it comes from a larger size class",
		"objects have no header, so that all bytes of a size class are there to be used",
	};
	struct bpf_mem_stats stats;
	struct bpf_mem_alloc ma;
	char *copies[3];

	/* Size 0: one allocator for all sizes up to BPF_MEM_ALLOC_SIZE_MAX. */
	if (bpf_mem_alloc_init(&ma, 0, false))
		return 1;
	for (int i = 0; i < 3; i++) {
		copies[i] = copy(&ma, texts[i]);
		if (!copies[i])
			return 1;
	}
	bpf_mem_alloc_stats(&ma, &stats);
	printf("%d texts, the longest of %zu characters, in %llu objects\n", 3, strlen(copies[2]),
	       (unsigned long long)stats.objs_in_use);

	/* Too large: NULL.  No bytes at all: a pointer that is not to be read, and may be freed. */
	if (bpf_mem_alloc(&ma, BPF_MEM_ALLOC_SIZE_MAX + 1) ||
	    bpf_mem_alloc(&ma, 0) != ZERO_SIZE_PTR)
		return 1;

	bpf_mem_free(&ma, copies[0]); /* reusable at once */
	bpf_mem_free_rcu(&ma, copies[1]); /* once readers that may see it are gone */
	bpf_mem_free_rcu(&ma, copies[2]);
	bpf_mem_free(&ma, ZERO_SIZE_PTR);
	bpf_mem_free(&ma, NULL);
	bpf_mem_alloc_destroy(&ma);
	return 0;
}
