//! An executor that is stepped by hand: a schedule says who goes on, also in the middle of a step.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use tokio::{
    runtime::{Builder, Runtime},
    sync::Notify,
    task::{spawn_blocking, yield_now},
    time::{Instant, advance, timeout},
};

use crate::schedule::Schedule;

/// So many steps are no progress any more.
const MOST_STEPS: usize = 5_000;
/// Longer than anybody sleeps.
const FOR_EVER: Duration = Duration::from_secs(24 * 60 * 60);

thread_local! {
    static CORES: RefCell<Option<Rc<Cores>>> = const { RefCell::new(None) };
}

/// Runs the tasks of one run.
pub(crate) struct Cores {
    /// Lends its paused time, and nothing else.
    runtime: Runtime,
    tasks: RefCell<Vec<Task>>,
    schedule: RefCell<Schedule>,
    /// How often somebody may still take over in the middle of a step.
    interrupts: Cell<usize>,
    is_exploring: Cell<bool>,
    depth: Cell<usize>,
    trace: RefCell<Vec<String>>,
    rung: Arc<Notify>,
}

struct Task {
    name: &'static str,
    /// There is none while it is stepped, and when it has ended.
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    bell: Arc<Bell>,
    is_client: bool,
    has_threads: bool,
    has_ended: bool,
}

/// Notes that a task can go on.
struct Bell {
    is_rung: AtomicBool,
    rung: Arc<Notify>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.is_rung.store(true, Ordering::Relaxed);
        self.rung.notify_one();
        point();
    }
}

/// Names a task.
#[derive(Clone, Copy)]
pub(crate) struct Id(usize);

/// A place where another core may be faster.
pub(crate) fn point() {
    let cores = CORES.with_borrow(Clone::clone);
    if let Some(cores) = cores.filter(|it| it.is_exploring.get() && it.depth.get() > 0) {
        cores.interrupt();
    }
}

/// Starts a task that nobody waits for.
pub(crate) fn spawn(name: &'static str, future: impl Future<Output = ()> + 'static) -> Id {
    running().add(name, false, future)
}

/// Starts a client, whose end is waited for.
pub(crate) fn client(name: &'static str, future: impl Future<Output = ()> + 'static) -> Id {
    running().add(name, true, future)
}

/// Drops a task as it stands; not while it is in the middle of a step.
pub(crate) fn dismiss(id: Id) -> bool {
    let future = running().tasks.borrow_mut()[id.0].future.take();
    let is_dismissed = future.is_some();
    drop(future);
    running().tasks.borrow_mut()[id.0].has_ended |= is_dismissed;
    is_dismissed
}

/// Lets others go first, if they are picked.
pub(crate) async fn pause() {
    let mut has_paused = false;
    poll_fn(|context| {
        if std::mem::replace(&mut has_paused, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Lets everybody go on in the order of the schedule, until nobody can.
pub(crate) fn settle() {
    let cores = running();
    loop {
        let ready = cores.ready();
        match ready.len() {
            0 => return,
            ways if ways > 1 && cores.is_exploring.get() => {
                let choice = cores.schedule.borrow_mut().pick(ways);
                cores.step(ready[choice]);
            }
            _ => cores.step(ready[0]),
        }
    }
}

/// Goes on until every client has got what it waits for; tells how long that took.
pub(crate) fn finish(at_most: Duration) -> Duration {
    let (cores, start) = (running(), Instant::now());
    loop {
        settle();
        let waiting = cores.waiting();
        if waiting.is_empty() {
            return start.elapsed();
        }
        let is_rung = cores.runtime.block_on(timeout(FOR_EVER, cores.rung_by_time())).is_ok();
        assert!(is_rung, "for ever: {waiting:?}");
        assert!(start.elapsed() <= at_most, "longer than {at_most:?}: {waiting:?}");
    }
}

/// Lets time pass, and everybody go on as if alone.
pub(crate) fn pass(time: Duration) {
    let cores = running();
    let was_exploring = cores.is_exploring.replace(false);
    cores.runtime.block_on(advance(time));
    settle();
    cores.is_exploring.set(was_exploring);
}

/// Lets the schedule have its say from now on.
pub(crate) fn explore() {
    running().is_exploring.set(true);
}

/// Starts a task that has other threads do what blocks, which is done by the end of the step.
///
/// It goes on from there when the schedule says so, which is late enough.
pub(crate) fn spawn_with_threads(name: &'static str, future: impl Future<Output = ()> + 'static) {
    let (cores, id) = (running(), spawn(name, future));
    cores.tasks.borrow_mut()[id.0].has_threads = true;
}

/// Polls once, with the patience that a runtime has; tells whether it wants to go on at once.
pub(crate) fn is_restless(future: impl Future<Output = ()>) -> bool {
    let cores = running();
    let bell = cores.bell(false);
    let waker = Waker::from(Arc::clone(&bell));
    let mut future = Box::pin(future);
    let has_ended = cores.runtime.block_on(async {
        let has_ended = poll_fn(|_| {
            Poll::Ready(future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready())
        })
        .await;
        // The runtime wakes whoever has used up its patience only when it has a rest itself.
        yield_now().await;
        has_ended
    });
    has_ended || bell.is_rung.load(Ordering::Relaxed)
}

fn running() -> Rc<Cores> {
    CORES.with_borrow(Clone::clone).expect("within a run")
}

impl Cores {
    /// Makes the executor of one run; in the middle of a step others take over so often at most.
    pub(crate) fn new(schedule: Schedule, interrupts: usize) -> Rc<Self> {
        let mut runtime = Builder::new_current_thread();
        // With one thread for what blocks the last of it is done when a further piece is.
        runtime.enable_time().start_paused(true).max_blocking_threads(1);
        Rc::new(Self {
            runtime: runtime.build().unwrap(),
            tasks: RefCell::default(),
            schedule: RefCell::new(schedule),
            interrupts: Cell::new(interrupts),
            is_exploring: Cell::new(false),
            depth: Cell::new(0),
            trace: RefCell::default(),
            rung: Arc::default(),
        })
    }

    /// Runs a model.
    pub(crate) fn run(self: &Rc<Self>, model: impl FnOnce()) {
        let _time = self.runtime.enter();
        CORES.set(Some(Rc::clone(self)));
        model();
        self.clear();
    }

    /// Drops all tasks, as nobody looks at them any more.
    pub(crate) fn clear(&self) {
        self.is_exploring.set(false);
        let _time = self.runtime.enter();
        let tasks = self.tasks.take();
        drop(tasks);
        CORES.set(None);
    }

    /// Gives the schedule as it was followed.
    pub(crate) fn schedule(&self) -> Schedule {
        self.schedule.replace(Schedule::scripted(Vec::new()))
    }

    /// Tells who went on, in order; whoever took over in the middle of a step is set in.
    pub(crate) fn trace(&self) -> String {
        self.trace.borrow().join("\n")
    }

    fn bell(&self, is_rung: bool) -> Arc<Bell> {
        Arc::new(Bell { is_rung: AtomicBool::new(is_rung), rung: Arc::clone(&self.rung) })
    }

    fn add(
        &self,
        name: &'static str,
        is_client: bool,
        future: impl Future<Output = ()> + 'static,
    ) -> Id {
        let bell = self.bell(true);
        let future: Option<Pin<Box<dyn Future<Output = ()>>>> = Some(Box::pin(future));
        let mut tasks = self.tasks.borrow_mut();
        tasks.push(Task { name, future, bell, is_client, has_threads: false, has_ended: false });
        Id(tasks.len() - 1)
    }

    fn ready(&self) -> Vec<usize> {
        let tasks = self.tasks.borrow();
        let is_ready =
            |task: &Task| task.future.is_some() && task.bell.is_rung.load(Ordering::Relaxed);
        (0..tasks.len()).filter(|index| is_ready(&tasks[*index])).collect()
    }

    fn waiting(&self) -> Vec<&'static str> {
        let tasks = self.tasks.borrow();
        tasks.iter().filter(|task| task.is_client && !task.has_ended).map(|it| it.name).collect()
    }

    async fn rung_by_time(&self) {
        while self.ready().is_empty() {
            self.rung.notified().await;
        }
    }

    fn interrupt(&self) {
        while self.interrupts.get() > 0 {
            let ready = self.ready();
            if ready.is_empty() {
                return;
            }
            let choice = self.schedule.borrow_mut().interrupt(ready.len());
            if choice == 0 {
                return;
            }
            self.interrupts.set(self.interrupts.get() - 1);
            self.step(ready[choice - 1]);
        }
    }

    fn step(&self, index: usize) {
        let (mut future, waker, has_threads) = {
            let mut tasks = self.tasks.borrow_mut();
            let task = &mut tasks[index];
            task.bell.is_rung.store(false, Ordering::Relaxed);
            let mut trace = self.trace.borrow_mut();
            trace.push(format!("{}{}", "    ".repeat(self.depth.get()), task.name));
            assert!(trace.len() < MOST_STEPS, "this never comes to rest");
            let waker = Waker::from(Arc::clone(&task.bell));
            (task.future.take().unwrap(), waker, task.has_threads)
        };
        self.depth.set(self.depth.get() + 1);
        let has_ended = future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        if has_threads {
            self.runtime.block_on(spawn_blocking(|| ())).unwrap();
        }
        if has_ended {
            drop(future);
            self.tasks.borrow_mut()[index].has_ended = true;
        } else {
            self.tasks.borrow_mut()[index].future = Some(future);
        }
        self.depth.set(self.depth.get() - 1);
    }
}
