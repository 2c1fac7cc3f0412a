// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * test_debug_options.c - what a user may say about debug mode
 */
#include "every_access.h"
#include "../../core/debug.c"
#include "unit.h"

static void is_read(const char *text, bool by_itself, uint32_t mode, uint64_t bytes,
		    unsigned int odd)
{
	unit_begin();
	script_debug(text, by_itself);
	bma_debug_init();
	bma_debug_init();
	assert_int_equal(port_load(&bma_world.debug.mode, relaxed), mode | BMA_DEBUG_READ);
	assert_int_equal(port_load(&bma_world.debug.quarantine, relaxed), bytes);
	assert_int_equal(script_nr_reports(), odd);
}

static void options_are_read(void)
{
	is_read(NULL, false, 0, 0, 0);
	is_read(NULL, true, BMA_DEBUG_ON, 0, 0);
	is_read("", false, 0, 0, 0);
	is_read("1", false, BMA_DEBUG_ON, 0, 0);
	is_read("0", true, 0, 0, 0);
	is_read("abort", false, BMA_DEBUG_ON | BMA_DEBUG_ABORT, 0, 0);
	is_read("quarantine=7", false, BMA_DEBUG_ON, 7, 0);
	is_read("quarantine=3K", false, BMA_DEBUG_ON, 3 << 10, 0);
	is_read("abort,quarantine=16M", false, BMA_DEBUG_ON | BMA_DEBUG_ABORT, 16 << 20, 0);
	is_read("quarantine=2G,1", false, BMA_DEBUG_ON, 2ull << 30, 0);
	is_read("nonsense", false, 0, 0, 1);
	is_read("11,,abortx,quarantine=,1", false, BMA_DEBUG_ON, 0, 1);
	is_read("quarantine=1Mx", false, 0, 1 << 20, 1);
	is_read("quarantine=99999999999999", false, 0, 9999999999999, 1);
	is_read("01", true, BMA_DEBUG_ON, 0, 1);
	unit_begin();
}

static void read_too(void *arg)
{
	(void)arg;
	bma_debug_init();
}

/* Whoever is first: what is wrong is told once. */
static void options_are_read_by_two(void)
{
	unsigned int nth = 0;

	do {
		unit_begin();
		script_debug("quarantine=7,nonsense", false);
		script_interrupt(SCRIPT_ACCESS, ++nth, read_too, NULL);
		bma_debug_init();
		assert_int_equal(port_load(&bma_world.debug.mode, relaxed),
				 BMA_DEBUG_READ | BMA_DEBUG_ON);
		assert_int_equal(port_load(&bma_world.debug.quarantine, relaxed), 7);
		assert_int_equal(script_nr_reports(), 1);
	} while (script_interrupted());
	assert_true(nth > 3);
	unit_begin();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_TEST(options_are_read),
		UNIT_TEST(options_are_read_by_two),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
