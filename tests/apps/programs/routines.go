// SPDX-License-Identifier: BSD-3-Clause
// Goroutines that hand a number round through channels, timers, and a collected heap, in a static program
// that has the signals and the threads of its own runtime.
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"time"
)

const routines, steps = 8, 40

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func hand(in <-chan string, out chan<- string, number int) {
	count := 0
	for text := range in {
		count++
		garbage := make([]byte, 1<<18)
		copy(garbage, text)
		sum := sha256.Sum256([]byte(fmt.Sprintf("%d %d %s", number, count, garbage[:len(text)])))
		out <- hex.EncodeToString(sum[:])
	}
	close(out)
}

func main() {
	seed, err := os.ReadFile("seed")
	check(err)
	progress, err := os.Create("progress")
	check(err)
	first := make(chan string)
	last := first
	for number := 0; number < routines; number++ {
		next := make(chan string)
		go hand(last, next, number)
		last = next
	}
	state := strings.TrimSpace(string(seed))
	ticker := time.NewTicker(100 * time.Millisecond)
	for step := 0; step < steps; step++ {
		<-ticker.C
		first <- state
		state = <-last
		fmt.Fprintf(progress, "%d %s\n", step, state)
	}
	check(os.WriteFile("result", []byte(state+"\n"), 0o644))
}
