#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-3-Clause
# shellcheck disable=SC2016 # programs for `sh -c` are expanded there
#
# The command line of cpr: what it accepts, how it fails, what it prints.  CPR names the program.

bats_require_minimum_version 1.5.0

setup()
{
	[ -x "${CPR:-}" ] || { echo "CPR does not name the program" >&2; return 1; }
	# Attribute file and compatibility switches of whoever runs the tests must not matter.
	unset CPR_FILE CPR_COMPAT CKPT_PRECOPY CKPT_RESTART CKPT_LAUNCHER CKPT_SET CKPT_DIR LD_PRELOAD POSIXLY_CORRECT
	export HOME=$BATS_TEST_TMPDIR
	cd "$BATS_TEST_TMPDIR" || return 1
}

# usage_error MESSAGE ARG...: exit status 2, MESSAGE, and not the whole help.
usage_error()
{
	local message=$1

	shift
	run "$CPR" "$@"
	echo "status $status: $output"
	[ "$status" -eq 2 ]
	[[ $output == *"$message"* ]]
	[ "${#lines[@]}" -le 2 ]
}

@test "--help names every command and every option of the completion" {
	run "$CPR" --help
	[ "$status" -eq 0 ]
	help=$output
	for word in -c -r -i -D run verify check status; do
		[[ $help == *"$word"* ]]
		for option in $("$CPR" --complete "$word" | grep '^--'); do
			echo "$word $option"
			[[ $help == *"$option"* ]]
		done
	done
	[[ $help != *api-result* ]]
}

@test "the man page describes every command and option" {
	page=$BATS_TEST_DIRNAME/../../docs/man/cpr.1.scd
	for word in -c -r -i -D run verify check status; do
		grep -qe "^\*$word\*" "$page"
		for option in $("$CPR" --complete "$word" | grep '^-'); do
			echo "$word $option"
			grep -qe "\*$option\*" "$page"
		done
	done
}

@test "--version and --usage" {
	run "$CPR" --version
	[ "$status" -eq 0 ]
	[[ ${lines[0]} =~ ^cpr\ \(posix-ckpt\)\ [0-9]+\.[0-9]+ ]]
	[[ ${lines[1]} == *"image format"* ]]
	run "$CPR" --usage
	[ "$status" -eq 0 ]
	[[ ${lines[0]} == Usage:* ]]
}

@test "usage errors end with status 2 and one line" {
	usage_error "what is to be done"
	usage_error "invalid option" -w
	usage_error "invalid option" -m
	usage_error "unrecognized option" --nonsense
	usage_error "what is to be done" nonsense
	usage_error "-c needs -p" -c d
	usage_error "needs one directory" -c -p 1
	usage_error "needs one directory" -c d e -p 1
	usage_error "'0' is not ID" -c d -p 0
	usage_error "'1:XYZ' is not ID" -c d -p 1:XYZ
	usage_error "exclude each other" -c d -p 1 -g -k
	usage_error "does not go with another command" -c -r d -p 1
	usage_error "--process does not go with -r" -r d -p 1
	usage_error "--clone does not go with -c" -c d -p 1 --clone
	usage_error "--keep" -c d -p 1 --keep 0
	usage_error "--timeout" -c d -p 1 --timeout soon
	usage_error "--policy" -c d -p 1 --policy hurry
	usage_error "--copy-limit" -c d -p 1 --copy-limit 1X
	usage_error "--precopy 'x': one of off on auto is needed" -c d -p 1 --precopy=x
	usage_error "'--precopy' requires an argument" -c d -p 1 --precopy
	usage_error "--precopy does not go with -r" -r d --precopy on
	usage_error "--incremental 'x': one of auto off is needed" -c d -p 1 --incremental=x
	usage_error "--incremental does not go with run" run --incremental off true
	usage_error "'--lazy' doesn't allow an argument" -r d --lazy=x
	usage_error "GLOB=ACTION" -c d -p 1 --file-policy x=shred
	usage_error "OLD=NEW" -r d --relocate a=b
	usage_error "--ids" -r d --ids some
	usage_error "--generation" -r d --generation 0
	usage_error "-r needs one directory" -r
	usage_error "-i needs a directory" -i
	usage_error "-D needs a directory" -D
	usage_error "verify needs a directory" verify
	usage_error "run needs a command" run
	usage_error "check takes one process" check 1 2
	usage_error "not a process id" check one
	usage_error "takes no operands" status now
	usage_error "--api-result" -c d -p 1 --api-result 987
}

@test "what is not there ends with status 3" {
	mkdir -m 700 empty
	for args in "-r nowhere" "-i nowhere" "-D nowhere" "verify nowhere" "-r empty" "-i empty" \
		"verify empty" "-r nowhere --check"; do
		# shellcheck disable=SC2086 # split on purpose
		run "$CPR" $args
		echo "$args: status $status: $output"
		[ "$status" -eq 3 ]
		[ "${#lines[@]}" -eq 1 ]
		[[ $output == "cpr: "*": "* ]]
	done
	sh -c 'exit 0' &
	pid=$!
	wait "$pid"
	run "$CPR" -c new -p "$pid"
	[ "$status" -eq 3 ]
	[ "${#lines[@]}" -eq 1 ]
}

@test "Slurm types are refused by name when there is no ckpt-step" {
	cp "$CPR" alone
	for id in 4711.0:ASH 4711:JID; do
		run ./alone -c d -p "$id"
		[ "$status" -eq 4 ]
		[[ $output == *"needs a Slurm job"* ]]
		[ ! -e d ]
	done
	export CKPT_STEP_HELPER=/nowhere/ckpt-step
	run "$CPR" -c d -p 4711:JID
	[ "$status" -eq 4 ]
	[[ $output == *"CKPT_STEP_HELPER: /nowhere/ckpt-step: "* ]]
}

@test "Slurm types go to ckpt-step, which may lie in three places" {
	mkdir -p bin libexec/ckpt
	cp "$CPR" bin/cpr
	printf '#!/bin/sh\necho "$0:" "$@"\necho trouble >&2\nexit 9\n' >libexec/ckpt/ckpt-step
	chmod +x libexec/ckpt/ckpt-step
	run bin/cpr -c d -p 4711.3:ASH
	[ "$status" -eq 9 ]
	[[ ${lines[0]} == *"/ckpt-step: create 4711.3 ImageDir=$PWD/d" ]]
	[ "${lines[1]}" = trouble ]
	cp libexec/ckpt/ckpt-step bin
	run bin/cpr -c /some/where -k -p 4711:JID
	[[ ${lines[0]} == *"/bin/ckpt-step: create 4711 ImageDir=/some/where kill" ]]
	cp libexec/ckpt/ckpt-step named
	CKPT_STEP_HELPER=$PWD/named run bin/cpr -c d -p 4711:ASH
	[[ ${lines[0]} == *"/named: create 4711 ImageDir=$PWD/d" ]]
	# For the library the last line is the text of the error.
	CKPT_STEP_HELPER=$PWD/named bin/cpr -c d -p 4711:ASH --api-result 7 7<>result >/dev/null || true
	grep -q trouble result
	run bin/cpr -c d -p 4711:JID,4712:JID
	[ "$status" -eq 4 ]
	[[ $output == *"one job or step at a time"* ]]
	run bin/cpr -c d -p 4711:JID --dry-run
	[ "$status" -eq 4 ]
}

@test "options of launchers are checked" {
	usage_error "--hold '0' is not a number from 1" -c d -p 1 --hold 2,0
	usage_error "--drive 99: Bad file descriptor" -c d -p 1 --drive 99
	usage_error "--drive-timeout 'x' is not a number of seconds" -c d -p 1 --drive-timeout x
	usage_error "--dry-run and --drive exclude each other" -c d -p 1 --drive 1 --dry-run
	usage_error "--clone and --fenced exclude each other" -r d --clone --fenced
	usage_error "--fenced does not go with -c" -c d -p 1 --fenced
	usage_error "--check and --lazy exclude each other" -r d --check --lazy
	usage_error "--lazy does not go with -c" -c d -p 1 --lazy
	usage_error "--pins does not go with -r" -r d --pins x
}

@test "a directory that is not a checkpoint is not deleted" {
	mkdir -m 700 mine
	echo precious >mine/file
	run "$CPR" -D mine
	[ "$status" -ne 0 ]
	[ "$(cat mine/file)" = precious ]
}

@test "attribute file: errors name file, line and column; a missing CPR_FILE is an error" {
	printf 'CKPT PID 1 {\n  WILL: MAYBE\n}\n' >attr
	CPR_FILE=attr run "$CPR" -c d -p 1
	[ "$status" -eq 1 ]
	[ "$output" = "cpr: create: attr:2:9: EXIT, CONT or KILL expected" ]
	CPR_FILE=none run "$CPR" -c d -p 1
	[ "$status" -eq 1 ]
	[[ $output == *none* ]]
	cp attr .cpr
	run "$CPR" -c d -p 1
	[ "$status" -eq 1 ]
	[[ $output == *"/.cpr:2:9: "* ]]
	[ ! -e d ]
}

@test "CKPT_PRECOPY is checked as --precopy is, which beats it" {
	sleep 60 3>&- &
	pid=$!
	for word in x ON "off "; do
		CKPT_PRECOPY=$word run "$CPR" -c d -p "$pid"
		[ "$status" -eq 1 ]
		[ "$output" = "cpr: create: CKPT_PRECOPY is '$word': off, on or auto is needed" ]
		[ ! -e d ]
	done
	for word in "" off on auto; do
		CKPT_PRECOPY=$word run "$CPR" -c d -p "$pid" --dry-run
		[[ $output != *CKPT_PRECOPY* ]]
	done
	CKPT_PRECOPY=x run "$CPR" -c d -p "$pid" --dry-run --precopy off
	[[ $output != *CKPT_PRECOPY* ]]
	kill "$pid"
}

@test "what --json prints is described" {
	# Without descriptors of bats or of whoever has started it.
	bash -c 'for fd in /proc/$$/fd/*; do fd=${fd##*/}; ((fd < 3)) || eval "exec $fd>&-"; done
		exec "$CPR" run sleep 60' </dev/null >/dev/null 2>&1 &
	pid=$!
	until [ "$(cat "/proc/$pid/comm")" = sleep ]; do sleep 0.1; done
	page=$BATS_TEST_DIRNAME/../../docs/man/cpr.1.scd
	run "$CPR" -c d -p "$pid" --json
	kill "$pid"
	echo "status $status: $output"
	[ "$status" -eq 0 ]
	for key in $(grep -o '"[a-z_]*":' <<<"$output" | tr -d '":'); do
		echo "$key"
		grep -qF "*$key*" "$page"
	done
}

@test "quickstart bench looks at its options before it installs or builds" {
	mkdir bin
	printf '#!/bin/sh\ntouch "%s/called"\nexit 1\n' "$PWD" >bin/cmake
	chmod +x bin/cmake
	cp bin/cmake bin/dpkg-query
	cp bin/cmake bin/apt-get
	for args in --nonsense nonsense --dir "--quick --only"; do
		# shellcheck disable=SC2086 # split on purpose
		PATH=$PWD/bin:$PATH run "$BATS_TEST_DIRNAME/../../quickstart" bench $args
		echo "$args: status $status: $output"
		[ "$status" -eq 2 ]
		[[ $output == "bench: "* ]]
		[ "${#lines[@]}" -eq 1 ]
		[ ! -e called ]
	done
}

@test "run: exit status, arguments and environment are those of the command" {
	run "$CPR" run sh -c 'echo "$LD_PRELOAD|$CKPT_SET|$1"; exit 5' sh -x
	[ "$status" -eq 5 ]
	[[ $output =~ ^/[^:]*/libckpt\.so\.0\|[0-9a-f]{16}\|-x$ ]]

	CKPT_SET=0123456789abcdef LD_PRELOAD=libm.so.6 run "$CPR" run --dir /x -- \
		sh -c 'echo "$LD_PRELOAD|$CKPT_SET|$CKPT_DIR"'
	[[ $output == /*"libckpt.so.0:libm.so.6|0123456789abcdef|/x" ]]

	run "$CPR" run "$CPR" run sh -c 'echo "$LD_PRELOAD"'
	[[ $output != *:* ]]
}

@test "run: keeps its pid and its closed descriptors" {
	run sh -c 'echo $$; exec "$CPR" run sh -c "echo \$\$"'
	[ "${lines[0]}" = "${lines[1]}" ]
	run sh -c 'exec "$CPR" run sh -c "[ ! -e /proc/self/fd/0 ]" <&-'
	[ "$status" -eq 0 ]
}

@test "run: 127 when the command is not found, 126 when it cannot run" {
	run -127 "$CPR" run no-such-command-here
	echo text >plain
	run "$CPR" run ./plain
	[ "$status" -eq 126 ]
	[[ $output == *"Permission denied"* ]]
}

@test "run: warns of a static program and runs it all the same" {
	command -v cc >/dev/null || skip "no C compiler"
	echo 'int main(void) { return 9; }' >prog.c
	cc -static -o prog prog.c || skip "no static libc"
	run "$CPR" run ./prog
	[ "$status" -eq 9 ]
	[ "$output" = "cpr: run: ./prog: cannot be checkpointed: it is statically linked" ]
	run "$CPR" run -q ./prog
	[ "$status" -eq 9 ]
	[ -z "$output" ]
}

@test "run: CKPT_RESTART restarts instead, without starting the command" {
	CKPT_RESTART=nowhere run "$CPR" run touch started
	[ "$status" -eq 3 ]
	[ ! -e started ]
}

@test "check says what this host can do, also in JSON" {
	run "$CPR" check
	[ "$status" -eq 0 ] || [ "$status" -eq 4 ]
	[[ ${lines[0]} =~ ^(yes|limited|no)\  ]]
	command -v python3 >/dev/null || skip "no python3 to read JSON with"
	# --json goes with status 4, too.
	{ "$CPR" check --json || [ $? -eq 4 ]; } |
		python3 -c 'import json,sys; l=json.load(sys.stdin); assert l and all(f["what"] for f in l)'
	"$CPR" status --json | python3 -c 'import json,sys; assert type(json.load(sys.stdin)) is list'
}

@test "a full disk is noticed" {
	[ -w /dev/full ] || skip "no /dev/full"
	run sh -c '"$CPR" status --json >/dev/full'
	[ "$status" -eq 1 ]
	[[ $output == *"No space left"* ]]
}

@test "chkpnt and restart: 0 or 1, and the line of cpr" {
	chkpnt=$(dirname "$CPR")/chkpnt
	restart=$(dirname "$CPR")/restart
	[ -x "$chkpnt" ] || skip "not beside cpr"
	for args in "" "-p 1" "-f d" "-p 1 -f d more" "-x"; do
		# shellcheck disable=SC2086 # split on purpose
		run "$chkpnt" $args
		[ "$status" -eq 1 ]
		[[ $output == *"usage: chkpnt"* ]]
	done
	for args in nowhere "-f nowhere" "-vwf nowhere"; do
		# shellcheck disable=SC2086 # split on purpose
		run "$restart" $args
		[ "$status" -eq 1 ]
		[[ $output == "cpr: restart: "*nowhere* ]]
	done
	run "$restart"
	[ "$status" -eq 1 ]
	[[ $output == "usage: restart"* ]]
}

# complete WORD...: what the shell function offers for the last word.
complete_line()
{
	COMP_WORDS=(cpr "$@")
	COMP_CWORD=$#
	COMPREPLY=()
	_cpr
}

@test "bash completion" {
	# shellcheck source=/dev/null
	source "${CPR_COMPLETION:-$BATS_TEST_DIRNAME/../../posix_ckpt/cmd/completions/cpr}"
	PATH=$(dirname "$CPR"):$PATH
	mkdir images

	complete_line ver
	[ "${COMPREPLY[*]}" = verify ]
	complete_line -c --pol
	[ "${COMPREPLY[*]}" = --policy ]
	complete_line -c --policy s
	[ "${COMPREPLY[*]}" = skip ]
	complete_line -c --policy = ''
	[ "${COMPREPLY[*]}" = "wait skip abort" ]
	complete_line -r --re
	[ "${COMPREPLY[*]}" = --relocate ]
	complete_line -r im
	[ "${COMPREPLY[*]}" = images ]
	complete_line check "$$"
	[[ " ${COMPREPLY[*]} " == *" $$ "* ]]
	complete_line -r --api
	[ "${#COMPREPLY[@]}" -eq 0 ]
}

@test "run becomes the launcher of its surroundings" {
	printf '#!/bin/sh\nunset CKPT_LAUNCHER\necho "$*"\nwhile [ "$1" != -- ]; do shift; done\nexec "$CPR" run "$@"\n' > launcher
	chmod +x launcher
	export CKPT_LAUNCHER="$PWD/launcher --site=a  b"
	run "$CPR" run -q echo "two words" -x
	[ "$output" = "--site=a b --quiet -- echo two words -x
two words -x" ]
	# Not inside of a set, nor for programs that keep checkpoints of their own.
	run env CKPT_SET=1234123412341234 "$CPR" run echo inside
	[ "$output" = inside ]
	run "$CPR" run --dir "$PWD/own" echo own
	[ "$output" = own ]
	# It is better to run without than not to run.
	export CKPT_LAUNCHER=/nowhere/launcher
	run "$CPR" run echo runs
	[ "$status" -eq 0 ]
	[[ ${lines[0]} == "cpr: run: CKPT_LAUNCHER: /nowhere/launcher: "* ]]
	[ "${lines[1]}" = runs ]
}

@test "the directory of a job step is left to ckpt-step" {
	mkdir 7.0
	touch 7.0/step
	printf '#!/bin/sh\necho "$@"\n[ "$1" = show ]\n' > helper
	chmod +x helper
	with="CKPT_STEP_HELPER=$PWD/helper"
	run env "$with" "$CPR" -i 7.0
	[ "$status" -eq 0 ]
	[ "$output" = "show 7.0" ]
	run env "$with" "$CPR" -r --check 7.0
	[ "$status" -eq 4 ]
	[ "$output" = "check 7.0" ]
	run env "$with" "$CPR" -r 7.0
	[ "$status" -eq 4 ]
	[[ $output == *"srun --restart-dir=7.0 restarts it"* ]]
	run env "$with" "$CPR" -i --json 7.0
	[ "$status" -eq 4 ]
	with=CKPT_STEP_HELPER=/nowhere/helper
	run env "$with" "$CPR" -i 7.0
	[ "$status" -eq 4 ]
	[[ $output == *"CKPT_STEP_HELPER: /nowhere/helper: "* ]]
}
