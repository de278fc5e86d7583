// SPDX-License-Identifier: BSD-3-Clause
// Threads with channels, a mutex and a barrier.
use std::fs::File;
use std::io::Write;
use std::sync::{mpsc, Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

const THREADS: usize = 4;
const STEPS: usize = 40;

fn mix(mut x: u64) -> u64 {
    for _ in 0..1000 {
        x = (x ^ x >> 29).wrapping_mul(0xbf58476d1ce4e5b9);
    }
    x
}

fn main() {
    let seed: u64 = std::fs::read_to_string("seed").unwrap().trim().parse().unwrap();
    let mut progress = File::create("progress").unwrap();
    let state = Arc::new(Mutex::new(vec![seed; THREADS]));
    let barrier = Arc::new(Barrier::new(THREADS));
    let (send, receive) = mpsc::channel();
    let threads: Vec<_> = (0..THREADS)
        .map(|me| {
            let (state, barrier, send) = (state.clone(), barrier.clone(), send.clone());
            thread::spawn(move || {
                for step in 0..STEPS {
                    let left = state.lock().unwrap()[(me + 1) % THREADS];
                    barrier.wait();
                    let value = mix(left.wrapping_add(me as u64));
                    state.lock().unwrap()[me] = value;
                    if barrier.wait().is_leader() {
                        send.send((step, state.lock().unwrap().clone())).unwrap();
                        thread::sleep(Duration::from_millis(100));
                    }
                }
            })
        })
        .collect();
    drop(send);
    for (step, values) in receive {
        writeln!(progress, "{} {:?}", step, values).unwrap();
    }
    for thread in threads {
        thread.join().unwrap();
    }
    std::fs::write("result", format!("{:?}\n", state.lock().unwrap())).unwrap();
}
