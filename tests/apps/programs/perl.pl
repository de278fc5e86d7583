#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# Four children, each with a pipe to the parent, which reads them as they come and collects their exit
# statuses with waitpid.
use strict;
use warnings;
use IO::Handle;
use IO::Select;

open(my $progress, '>', 'progress') or die "progress: $!";
$progress->autoflush(1);
open(my $file, '<', 'seed') or die "seed: $!";
my $seed = <$file> + 0;
close($file);

my (%number_of, %pid_of, %sum, @status);
my $pipes = IO::Select->new;
for my $number (1 .. 4) {
	pipe(my $reader, my $writer) or die "pipe: $!";
	my $pid = fork() // die "fork: $!";
	if ($pid == 0) {
		close($reader);
		$writer->autoflush(1);
		my $x = $seed;
		for my $step (0 .. 39) {
			$x = ($x * 69069 + $number) % 4294967296;
			print $writer "$x\n";
			select(undef, undef, undef, 0.1);
		}
		exit(10 + $number);
	}
	close($writer);
	$pipes->add($reader);
	$number_of{$reader} = $number;
	$pid_of{$number} = $pid;
}

while ($pipes->count) {
	for my $reader ($pipes->can_read) {
		my $number = $number_of{$reader};
		# A child writes whole lines, which arrive as such.
		my $text;
		if (!sysread($reader, $text, 4096)) {
			$pipes->remove($reader);
			next;
		}
		for my $x (split(/\n/, $text)) {
			$sum{$number} = (($sum{$number} // 0) * 3 + $x) % 4294967291;
			print $progress "$number $x\n";
		}
	}
}

open(my $result, '>', 'result') or die "result: $!";
for my $number (1 .. 4) {
	my $pid = $pid_of{$number};
	waitpid($pid, 0) == $pid or die "waitpid: $!";
	printf $result "%d: sum %d, status %d\n", $number, $sum{$number}, $? >> 8;
}
close($result) or die "result: $!";
