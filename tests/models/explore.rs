//! Explores a model: first one order after the other, then orders that are drawn.

use std::{
    collections::HashSet,
    env,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

use crate::{cores::Cores, schedule::Schedule};

/// Runs of each model, unless `BEARERD_TEST_SCHEDULES` says another number.
const RUNS: usize = 1_200;
/// So many of them have to differ.
const FLOOR: usize = 600;
/// In a drawn schedule others may take over as often as they are drawn.
const ANY: usize = 1_000;

/// Runs a model in many orders, and says in how many.
pub(crate) fn explore(name: &str, model: impl Fn()) {
    let mut explorer = Explorer { name, model, orders: HashSet::new(), runs: 0 };
    if let Some((interrupts, script)) = asked_for(name) {
        explorer.run(Schedule::scripted(script), interrupts);
        return println!("model {name}: this order is fine");
    }
    let runs = env::var("BEARERD_TEST_SCHEDULES").map_or(RUNS, |runs| runs.parse().unwrap());
    let undisturbed = explorer.one_after_the_other(0, runs / 4);
    let once_disturbed = explorer.one_after_the_other(1, runs / 4);
    for seed in 0.. {
        if explorer.runs >= runs {
            break;
        }
        explorer.run(Schedule::drawn(seed), ANY);
    }
    let orders = explorer.orders.len();
    println!(
        "model {name}: {} runs, {orders} orders; all with undisturbed steps: {undisturbed}, all with \
         one disturbed: {once_disturbed}",
        explorer.runs
    );
    assert!(orders >= FLOOR.min(runs / 2), "only {orders} orders");
}

struct Explorer<'n, M> {
    name: &'n str,
    model: M,
    orders: HashSet<Vec<usize>>,
    runs: usize,
}

impl<M: Fn()> Explorer<'_, M> {
    /// Tries one way after the other; tells whether these were all.
    fn one_after_the_other(&mut self, interrupts: usize, runs: usize) -> bool {
        let mut script = Some(Vec::new());
        for _ in 0..runs {
            let Some(now) = script else { return true };
            script = self.run(Schedule::scripted(now), interrupts).next();
        }
        script.is_none()
    }

    fn run(&mut self, schedule: Schedule, interrupts: usize) -> Schedule {
        let cores = Cores::new(schedule, interrupts);
        let outcome = catch_unwind(AssertUnwindSafe(|| cores.run(&self.model)));
        let schedule = cores.schedule();
        if let Err(panic) = outcome {
            cores.clear();
            let answers = schedule.answers().iter().map(ToString::to_string).collect::<Vec<_>>();
            eprintln!("{}", cores.trace());
            let (name, answers) = (self.name, answers.join("."));
            eprintln!("again: BEARERD_TEST_SCHEDULE={name}:{interrupts}:{answers}");
            resume_unwind(panic);
        }
        self.runs += 1;
        self.orders.insert(schedule.answers());
        schedule
    }
}

/// Reads the one order of this model that somebody wants to see again.
fn asked_for(name: &str) -> Option<(usize, Vec<usize>)> {
    let asked = env::var("BEARERD_TEST_SCHEDULE").ok()?;
    let rest = asked.strip_prefix(name)?.strip_prefix(':')?;
    let (interrupts, answers) = rest.split_once(':').unwrap();
    let answers = answers.split('.').filter(|answer| !answer.is_empty());
    Some((interrupts.parse().unwrap(), answers.map(|answer| answer.parse().unwrap()).collect()))
}
