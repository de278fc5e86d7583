#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# A C project of 24 files, built by make -j2.  The seed is in the memory of make only.
#
# gcc -pipe: without it the compiler and the assembler meet in a temporary file which for an instant
# nobody has open, and a file that nobody has open is not part of a checkpoint.  make -B: objects that
# the first life finished after the checkpoint are still there at the restart, and make would take them
# for its own, even the one whose compiler was killed halfway.
set -eu
exec 3>progress
seed=$(<seed)
{
	echo '#include <stdio.h>'
	for i in {1..24}; do echo "unsigned long part$i(unsigned long x);"; done
	echo "int main(void) { unsigned long x = 1;"
	for i in {1..24}; do echo "x = part$i(x);"; done
	echo "return printf(\"%lu\", x) < 0; }"
} >main.c
for i in {1..24}; do
	echo "unsigned long part$i(unsigned long x) { x ^= SEED;"
	for j in {1..30}; do
		echo "for (unsigned k = 0; k < $j; k++) x = (x ^ x >> $i) * $((2 * i * j + 1)) + k;"
	done
	echo 'return x; }'
done | awk '/^unsigned long part/ { file = "part" ++n ".c" } { print >file }'
cat >Makefile <<'EOF'
objects := main.o $(patsubst %,part%.o,$(shell seq 24))
program: $(objects)
	$(CC) -o $@ $^
%.o: %.c
	@sleep 0.2
	$(CC) -O1 -pipe -DSEED=$(SEED)ul -c -o $@ $<
	@echo $@ >&3
EOF
exec make -B -j2 SEED="$seed"
