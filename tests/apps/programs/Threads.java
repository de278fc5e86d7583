// SPDX-License-Identifier: BSD-3-Clause
// Threads of a pool mix an array for every step; what they run is compiled while it runs, and the heap is
// collected in between.
import java.io.FileWriter;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

public class Threads {
	static final int THREADS = 4, SIZE = 1 << 14, STEPS = 40;

	static long mix(long x) {
		for (int round = 0; round < 16; round++)
			x = (x ^ x >>> 29) * 0xbf58476d1ce4e5b9L;
		return x;
	}

	public static void main(String[] args) throws Exception {
		long seed = Long.parseLong(Files.readString(Path.of("seed")).trim());
		long[] values = new long[SIZE];
		for (int i = 0; i < SIZE; i++)
			values[i] = (seed + i) * 0x9e3779b97f4a7c15L;
		ExecutorService pool = Executors.newFixedThreadPool(THREADS);
		try (PrintWriter progress = new PrintWriter(new FileWriter("progress"), true)) {
			for (int step = 0; step < STEPS; step++) {
				final long[] old = values;
				List<Callable<long[]>> parts = new ArrayList<>();
				for (int t = 0; t < THREADS; t++) {
					final int begin = t * SIZE / THREADS;
					parts.add(() -> {
						long[] part = new long[SIZE / THREADS];
						for (int i = 0; i < part.length; i++)
							part[i] = mix(old[begin + i] ^ old[((begin + i) * 7 + 1) % SIZE]);
						return part;
					});
				}
				long[] next = new long[SIZE];
				int at = 0;
				for (Future<long[]> part : pool.invokeAll(parts)) {
					System.arraycopy(part.get(), 0, next, at, SIZE / THREADS);
					at += SIZE / THREADS;
				}
				values = next;
				progress.println(step + " " + values[0]);
				Thread.sleep(100);
			}
		}
		pool.shutdown();
		long sum = 0;
		for (long value : values)
			sum = sum * 31 + value;
		Files.writeString(Path.of("result"), sum + "\n");
	}
}
