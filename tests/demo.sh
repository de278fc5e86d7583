#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# What `./quickstart demo` shows where there is no cluster: a numpy computation is checkpointed mid-work, killed, restarted, and
# gives the result of a run that nobody disturbed.  cpr comes from PATH.  Status 0 only when the
# results are equal.
set -euo pipefail

dir=$(mktemp -d /tmp/ckpt-demo-XXXXXX)
program=
# shellcheck disable=SC2317 # called by the trap
cleanup() {
	[[ -z $program ]] || kill -KILL "$program" 2>/dev/null || true
	rm -rf "$dir"
}
trap cleanup EXIT
cd "$dir"

# What the calling shell has open besides 0, 1 and 2 is not part of the program.
for fd in /proc/self/fd/*; do
	fd=${fd##*/}
	((fd < 3 || fd == 255)) || eval "exec $fd>&-"
done

say() { printf '\n%s\n' "$*"; }
show() {
	printf '  $ %s\n' "$*"
	"$@" 2>&1 | sed 's/^/  /'
}
steps() { tail -n 1 progress 2>/dev/null || echo nothing; }

cat >solve.py <<'EOF'
import numpy, os, sys, time
walk = numpy.random.default_rng(int(sys.argv[1]))   # its state is in memory only
field = numpy.zeros((300, 300))
with open("progress", "w") as progress:
    for step in range(1, 51):
        field = numpy.tanh(field @ walk.normal(size=(300, 300)) / 17 + walk.normal(size=(300, 300)))
        print(f"step {step} of 50, mean {field.mean():+.15f}", file=progress, flush=True)
        time.sleep(0.1)
print(f"process {os.getpid()}: result {field.sum():.12f}", flush=True)
EOF
python=/usr/bin/python3
"$python" -c 'import numpy' 2>/dev/null || { echo "demo.sh: $python has no numpy" >&2; exit 1; }

say "1. Undisturbed, for comparison"
mkdir undisturbed
(cd undisturbed && exec "$python" ../solve.py 42 >out) &
undisturbed=$!
echo "  \$ python3 solve.py 42 &"

say "2. The same, started with cpr run"
cpr run "$python" solve.py 42 </dev/null >out 2>&1 &
program=$!
echo "  \$ cpr run python3 solve.py 42 &"
sleep 2
echo "  process $program: $(steps)"

say "3. A checkpoint; the program goes on"
show cpr -c image -p "$program"
sleep 2
echo "  process $program: $(steps)"

say "4. The machine goes down"
echo "  \$ kill -KILL $program"
kill -KILL "$program"
wait "$program" 2>/dev/null || true
program=

say "5. Restart: it goes on at the checkpoint, and its files go back to it"
echo "  \$ cpr -r image"
cpr -r image </dev/null >restart.log 2>&1 &
restart=$!
for ((i = 0; i < 100; i++)); do
	! grep -q "^cpr: restarted" restart.log || break
	kill -0 "$restart" 2>/dev/null || break
	sleep 0.05
done
program=$(sed -n 's/^cpr: restarted .*: root pid \([0-9]*\).*/\1/p' restart.log)
sed 's/^/  /' restart.log
echo "  $(steps)"
status=0
wait "$restart" || status=$?
program=
wait "$undisturbed"

say "6. The results"
echo "  undisturbed  $(cat undisturbed/out)"
echo "  restarted    $(cat out)"
if ((status == 0)) && [[ -s out && $(sed 's/.*: //' out) == "$(sed 's/.*: //' undisturbed/out)" ]] &&
	cmp -s progress undisturbed/progress; then
	echo "  equal, to the last digit of every step"
	exit 0
fi
echo "  NOT EQUAL (cpr -r ended with $status)"
exit 1
