#!/bin/sh
# SPDX-License-Identifier: MIT OR GPL-2.0-only
#
# test_proof.sh - that scripts/proof would find its twins' lines in the sources
#
# What it proves takes hours; a line of core that changes must not wait for that to be missed there.
# SRC is the source directory.
if python3 "$SRC/scripts/proof" --places; then
	echo 'ok: the twins of tests/model/twins.txt fit the sources'
else
	echo 'NOT ok: the twins of tests/model/twins.txt fit the sources'
	exit 1
fi
