#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# One long transaction of sqlite3.  The cache is so small that changed pages go to the database before
# the commit, and the journal is needed to undo them.
set -eu
exec 3>progress
{
	cat <<-'EOF'
		.bail on
		PRAGMA page_size = 1024;
		PRAGMA cache_size = 16;
		DROP TABLE IF EXISTS entry;
		CREATE TABLE entry (id INTEGER PRIMARY KEY, amount INTEGER, text TEXT);
		CREATE TEMP TABLE seed AS SELECT CAST(CAST(readfile('seed') AS TEXT) AS INTEGER) AS n;
		WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 2000)
		INSERT INTO entry SELECT i, i, hex(i * 7919) FROM c;
		BEGIN IMMEDIATE;
	EOF
	step=0
	while [ $step -lt 40 ]; do
		cat <<-EOF
			UPDATE entry SET amount = (amount * 31 + id + (SELECT n FROM seed)) % 1000003
				WHERE id % 5 = $step % 5;
			INSERT INTO entry (amount, text) SELECT sum(amount) % 999983, 'step $step' FROM entry;
			.system echo $step >&3; sleep 0.1
		EOF
		step=$((step + 1))
	done
	echo "COMMIT;"
} >script
exec sqlite3 -batch -init /dev/null database <script
