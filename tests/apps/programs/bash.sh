#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Background jobs that feed pipes, a coprocess that answers questions, a trap and a wait for all of it.
set -eu
exec 3>progress
seed=$(<seed)

numbers() {
	local i x=$seed
	for ((i = 0; i < 40; i++)); do
		x=$(((x * 1103515245 + $1) % 2147483648))
		echo "$x"
		echo "$1 $i" >&3
		# Not while the shell waits for a job: bash may then lose the status of one that ends now.
		((i == 25 && $1 == 3)) && kill -USR1 $$
		sleep 0.1
	done
}

signals=0
trap 'signals=$((signals + 1))' USR1
coproc adder {
	sum=0
	while read -r number; do
		sum=$((sum + number))
		echo "$sum"
	done
}
numbers 1 | sort -n | sha256sum >part1 &
first=$!
numbers 2 | tr 0-9 a-j | while read -r word; do echo "<$word>"; done >part2 &
second=$!
(
	numbers 3 >part3
	exit 7
) &
third=$!

for ((i = 0; i < 40; i++)); do
	echo $((seed % 1000 + i)) >&"${adder[1]}"
	read -r sum <&"${adder[0]}"
	sleep 0.1
done

{
	echo "sum $sum"
	for job in "$first" "$second" "$third"; do
		result=0
		wait "$job" || result=$?
		echo "status $result"
	done
	echo "signals $signals"
	cat part1 part2 part3
} >result
