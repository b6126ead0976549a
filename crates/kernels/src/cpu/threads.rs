//! Threads that share the pieces of an operator.
//!
//! A crew is made for fork and join: the thread that has an operator to compute opens a job, its helpers come in, all
//! take pieces by a counter, and the job closes when every helper that came in has left. A helper that comes too late
//! finds it closed, so nobody waits for a helper that sleeps. Helpers spin for a moment between jobs, since the next
//! operator usually comes at once, and then sleep.
//!
//! Natively helpers are std's threads; in the page they are Workers over one memory, which the agent starts.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

/// Turns of waiting for the next job before a helper sleeps: some tens of microseconds. WebAssembly has no instruction
/// that pauses, so a turn is shorter there.
const IDLE_SPINS: usize = if cfg!(target_arch = "wasm32") { 20_000 } else { 1_000 };

/// Turns of waiting for helpers that still work on a piece, before the caller sleeps. Pieces are short.
const JOIN_SPINS: usize = 10 * IDLE_SPINS;

/// How long the caller sleeps before it looks whether a helper has failed, which nothing would wake it for.
const FAILURE_CHECK: Duration = Duration::from_millis(50);

/// Set in [`Crew::gate`] while a job is open; the rest of it counts the helpers inside.
const OPEN: usize = 1 << (usize::BITS - 1);

/// Who computes: the calling thread, and its helpers. Clones share the helpers; they end with the last clone.
#[derive(Clone, Default)]
pub struct Threads {
    owner: Option<Arc<Owner>>,
}

/// One of the threads of a crew, before it serves.
pub struct Helper {
    crew: Arc<Crew>,
}

/// What the caller and the helpers share.
#[derive(Default)]
struct Crew {
    /// Counts jobs: helpers wait for it to change.
    jobs: AtomicUsize,
    gate: AtomicUsize,
    /// What to do; only valid for a helper inside.
    task: Mutex<Option<Task>>,
    /// One caller at a time has the helpers.
    busy: AtomicBool,
    helpers: AtomicUsize,
    /// A helper ended in the middle of its work.
    failed: AtomicU32,
    quit: AtomicBool,
    sleepers: AtomicUsize,
    lock: Mutex<()>,
    /// A job was opened, or a helper left.
    changed: Condvar,
}

/// Ends the helpers once nobody has work for them any more.
struct Owner(Arc<Crew>);

/// Pieces of a job, of which the next is taken by a counter.
#[derive(Clone, Copy)]
struct Task {
    piece: &'static (dyn Fn(usize) + Sync),
    next: &'static AtomicUsize,
    count: usize,
}

impl Task {
    fn work(&self) {
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= self.count {
                return;
            }
            (self.piece)(index);
        }
    }
}

impl Threads {
    /// The calling thread alone.
    pub fn single() -> Self {
        Self::default()
    }

    /// The calling thread, and the helpers that [`Threads::helper`] will make.
    pub fn crew() -> Self {
        Self { owner: Some(Arc::new(Owner(Arc::default()))) }
    }

    /// As many threads as the machine runs at once, shared by everyone who asks: whoever comes while they are busy
    /// computes alone.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn of_machine() -> Self {
        static SHARED: std::sync::LazyLock<Threads> = std::sync::LazyLock::new(|| {
            let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            Threads::spawned(count)
        });
        SHARED.clone()
    }

    /// The calling thread and `count − 1` that are started here; fewer where the system refuses one.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn spawned(count: usize) -> Self {
        let threads = Self::crew();
        for _ in 1..count {
            if let Some(helper) = threads.helper() {
                // A helper that is not started is dropped, and no longer counts.
                let _ = std::thread::Builder::new().name("webnibble".to_owned()).spawn(move || helper.serve());
            }
        }
        threads
    }

    /// A helper more; `None` of a single thread, which has no crew. It helps once its thread calls [`Helper::serve`].
    pub fn helper(&self) -> Option<Helper> {
        let crew = Arc::clone(&self.owner.as_ref()?.0);
        crew.helpers.fetch_add(1, Ordering::Relaxed);
        Some(Helper { crew })
    }

    /// The calling thread and its helpers.
    pub fn count(&self) -> usize {
        1 + self.owner.as_ref().map_or(0, |owner| owner.0.helpers.load(Ordering::Relaxed))
    }

    /// Computes `piece` for each index below `count`, in no order.
    ///
    /// Panics when a helper failed: its piece is lost.
    pub(crate) fn each(&self, count: usize, piece: impl Fn(usize) + Sync) {
        match &self.owner {
            Some(owner) if count > 1 && self.count() > 1 => owner.0.share(count, &piece),
            _ => (0..count).for_each(piece),
        }
    }

    /// The same, and gives each result to `take` as it comes.
    pub(crate) fn each_into<T>(
        &self,
        count: usize,
        compute: impl Fn(usize) -> T + Sync,
        take: impl FnMut(usize, T) + Send,
    ) {
        let take = Mutex::new(take);
        self.each(count, |index| {
            let result = compute(index);
            (guard(&take))(index, result);
        });
    }

    /// Gives each chunk of `data` to `fill`, with its index.
    pub(crate) fn each_chunk<T: Send>(&self, data: &mut [T], len: usize, fill: impl Fn(usize, &mut [T]) + Sync) {
        let count = data.len().div_ceil(len);
        let chunks = Mutex::new(data.chunks_mut(len).enumerate());
        self.each(count, |_| {
            let next = guard(&chunks).next();
            if let Some((index, chunk)) = next {
                fill(index, chunk);
            }
        });
    }

    /// Where a thread that cannot go on writes another number than 0, so that the caller does not wait for it for ever:
    /// for threads that can end without Rust being told. `None` of a single thread.
    pub fn failure_flag(&self) -> Option<*mut u32> {
        Some(self.owner.as_ref()?.0.failed.as_ptr())
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.quit.store(true, Ordering::SeqCst);
        let _awake = guard(&self.0.lock);
        self.0.changed.notify_all();
    }
}

impl Helper {
    /// Helps until the last [`Threads`] of the crew is dropped.
    pub fn serve(self) {
        let crew = &*self.crew;
        loop {
            let seen = crew.jobs.load(Ordering::SeqCst);
            if let Some(inside) = Inside::enter(crew) {
                inside.task().work();
            }
            if !crew.wait_for_job(seen) {
                return;
            }
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.crew.helpers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Crew {
    /// Computes a job together with the helpers; alone where another caller has them.
    fn share(&self, count: usize, piece: &(dyn Fn(usize) + Sync)) {
        if self.busy.swap(true, Ordering::Acquire) {
            return (0..count).for_each(piece);
        }
        let next = AtomicUsize::new(0);
        // SAFETY: only lifetimes are changed. A helper reads the task while it is inside an open job, and `Job` is not
        // dropped before the job is closed and every helper has left, not even when a piece panics. `piece` and `next`
        // outlive it.
        #[expect(unsafe_code, reason = "borrows of the caller's stack are shared with threads that outlive them")]
        let task = unsafe {
            Task {
                piece: std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(piece),
                next: std::mem::transmute::<&AtomicUsize, &'static AtomicUsize>(&next),
                count,
            }
        };
        let job = Job::open(self, task);
        task.work();
        drop(job);
        assert!(self.failed.load(Ordering::SeqCst) == 0, "{FAILED}");
    }

    /// Waits for another job than the one `seen`; `false` when there will be none.
    fn wait_for_job(&self, seen: usize) -> bool {
        let waiting = || self.jobs.load(Ordering::SeqCst) == seen && !self.quit.load(Ordering::SeqCst);
        if spin(IDLE_SPINS, waiting) {
            let mut lock = guard(&self.lock);
            self.sleepers.fetch_add(1, Ordering::SeqCst);
            while waiting() {
                lock = self.changed.wait(lock).unwrap_or_else(PoisonError::into_inner);
            }
            self.sleepers.fetch_sub(1, Ordering::SeqCst);
        }
        !self.quit.load(Ordering::SeqCst)
    }

    /// Waits until no helper is inside, or one has failed.
    fn wait_for_helpers(&self) {
        let waiting = || self.gate.load(Ordering::SeqCst) != 0;
        if spin(JOIN_SPINS, waiting) {
            let mut lock = guard(&self.lock);
            while waiting() {
                // Without unwinding a helper cannot leave any more; its memory must not be given back then either.
                assert!(cfg!(panic = "unwind") || self.failed.load(Ordering::SeqCst) == 0, "{FAILED}");
                let waited = self.changed.wait_timeout(lock, FAILURE_CHECK);
                lock = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }
}

const FAILED: &str = "a thread of the CPU executor stopped in the middle of its work; its own message says why";

/// An open job; closed when it is dropped.
struct Job<'a>(&'a Crew);

impl<'a> Job<'a> {
    fn open(crew: &'a Crew, task: Task) -> Self {
        *guard(&crew.task) = Some(task);
        crew.failed.store(0, Ordering::SeqCst);
        crew.gate.store(OPEN, Ordering::SeqCst);
        crew.jobs.fetch_add(1, Ordering::SeqCst);
        if crew.sleepers.load(Ordering::SeqCst) > 0 {
            let _awake = guard(&crew.lock);
            crew.changed.notify_all();
        }
        Self(crew)
    }
}

impl Drop for Job<'_> {
    fn drop(&mut self) {
        let crew = self.0;
        crew.gate.fetch_and(!OPEN, Ordering::SeqCst);
        crew.wait_for_helpers();
        *guard(&crew.task) = None;
        crew.busy.store(false, Ordering::Release);
    }
}

/// A helper inside an open job; it leaves when this is dropped.
struct Inside<'a>(&'a Crew);

impl<'a> Inside<'a> {
    fn enter(crew: &'a Crew) -> Option<Self> {
        let inside = |gate: usize| (gate & OPEN != 0).then(|| gate + 1);
        crew.gate.fetch_update(Ordering::SeqCst, Ordering::SeqCst, inside).ok()?;
        Some(Self(crew))
    }

    fn task(&self) -> Task {
        guard(&self.0.task).expect("an open job has a task, and it stays until every helper has left")
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.failed.store(1, Ordering::SeqCst);
        }
        let last_of_a_closed_job = self.0.gate.fetch_sub(1, Ordering::SeqCst) == 1;
        if last_of_a_closed_job {
            let _awake = guard(&self.0.lock);
            self.0.changed.notify_all();
        }
    }
}

/// Looks `turns` times; whether it is still `waiting` then.
fn spin(turns: usize, waiting: impl Fn() -> bool) -> bool {
    (0..turns).all(|_| {
        std::hint::spin_loop();
        waiting()
    })
}

/// What is done under these locks takes less than going to sleep and being woken: so it is tried for a while first.
/// A panic elsewhere does not spoil what they hold.
fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    for _ in 0..IDLE_SPINS {
        match mutex.try_lock() {
            Ok(guard) => return guard,
            Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => std::hint::spin_loop(),
        }
    }
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    /// Every index below `count`, once, by that many threads.
    fn check(threads: &Threads, count: usize) {
        let seen: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
        threads.each(count, |index| {
            seen[index].fetch_add(1, Ordering::Relaxed);
        });
        assert!(seen.iter().all(|seen| seen.load(Ordering::Relaxed) == 1));
    }

    #[test]
    fn every_piece_is_computed_once() {
        for count in [1, 2, 3, 7] {
            let threads = Threads::spawned(count);
            assert_eq!(threads.count(), count);
            for pieces in (0..60).chain([1000]) {
                check(&threads, pieces);
            }
        }
        check(&Threads::single(), 5);
    }

    #[test]
    fn results_come_once_each() {
        let threads = Threads::spawned(3);
        let mut results = vec![0; 100];
        threads.each_into(100, |index| index * index, |index, result| results[index] += result);
        assert!(results.iter().enumerate().all(|(index, result)| *result == index * index));
    }

    #[test]
    fn every_chunk_is_filled() {
        let mut data = vec![0.0; 103];
        Threads::spawned(3).each_chunk(&mut data, 10, |index, chunk| chunk.fill(index as f32));
        assert!(data.iter().enumerate().all(|(at, value)| *value == (at / 10) as f32));
    }

    #[test]
    fn helpers_end_with_the_last_owner() {
        let threads = Threads::spawned(4);
        let crew = Arc::downgrade(&threads.owner.as_ref().unwrap().0);
        let clone = threads.clone();
        drop(threads);
        check(&clone, 100);
        drop(clone);
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while crew.strong_count() > 0 {
            assert!(std::time::Instant::now() < deadline, "{} helpers are left", crew.strong_count());
            std::thread::yield_now();
        }
    }

    #[test]
    fn callers_at_the_same_time_and_pieces_with_pieces_do_not_wait_for_each_other() {
        let threads = Threads::spawned(3);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..50).for_each(|_| threads.each(5, |_| check(&threads, 20))));
            }
        });
    }

    #[test]
    fn a_piece_that_panics_is_no_result() {
        let threads = Threads::spawned(3);
        for bad in 0..20 {
            let job = || threads.each(20, |index| assert!(index != bad, "on purpose"));
            assert!(catch_unwind(AssertUnwindSafe(job)).is_err(), "piece {bad}");
        }
        check(&threads, 100);
    }
}
