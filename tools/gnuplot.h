/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * gnuplot.h - run gnuplot on a script that is written on the way, and keep its picture in a file
 */
#ifndef BMA_GNUPLOT_H
#define BMA_GNUPLOT_H

#include <stdio.h>

/* All but the first after a message. */
enum gnuplot_end {
	GNUPLOT_DREW,
	GNUPLOT_MISSING,
	GNUPLOT_FAILED,
};

/*
 * Have @write_script(@arg) write a gnuplot script that draws to standard output, and put what
 * gnuplot makes of it into the PNG file @path.  The file is replaced when all is well, and left
 * alone otherwise.
 */
enum gnuplot_end gnuplot(const char *path, void (*write_script)(FILE *script, const void *arg),
			 const void *arg);

#endif /* BMA_GNUPLOT_H */
