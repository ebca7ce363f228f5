//! Schedules: the answers to every question of who goes on.

/// Answers each question of one run, and remembers how.
pub(crate) struct Schedule {
    script: Vec<usize>,
    /// What answers beyond the script; without it the first way is taken.
    seed: Option<u64>,
    /// The answers, each with the number of ways there were.
    taken: Vec<(usize, usize)>,
}

/// One of so many times somebody else takes over where that is possible, in a drawn schedule.
const RARELY: u64 = 6;

impl Schedule {
    /// Follows a script, and then always takes the first way.
    pub(crate) const fn scripted(script: Vec<usize>) -> Self {
        Self { script, seed: None, taken: Vec::new() }
    }

    /// Draws every answer.
    pub(crate) const fn drawn(seed: u64) -> Self {
        Self { script: Vec::new(), seed: Some(seed), taken: Vec::new() }
    }

    /// Picks one of those who could go on.
    pub(crate) fn pick(&mut self, ways: usize) -> usize {
        let drawn = self.draw().map(|drawn| below(drawn, ways));
        self.take(drawn, ways)
    }

    /// Tells who takes over in the middle of a step, if somebody does; 0 is nobody.
    pub(crate) fn interrupt(&mut self, others: usize) -> usize {
        let is_now = self.draw().map(|drawn| drawn % RARELY == 0);
        let who = self.draw().map(|drawn| 1 + below(drawn, others));
        let drawn = is_now.zip(who).map(|(is_now, who)| if is_now { who } else { 0 });
        self.take(drawn, others + 1)
    }

    fn take(&mut self, drawn: Option<usize>, ways: usize) -> usize {
        let scripted = self.script.get(self.taken.len()).copied();
        let choice = scripted.or(drawn).unwrap_or(0).min(ways - 1);
        self.taken.push((choice, ways));
        choice
    }

    fn draw(&mut self) -> Option<u64> {
        self.seed.as_mut().map(next_random)
    }

    /// Tells the answers that were given.
    pub(crate) fn answers(&self) -> Vec<usize> {
        self.taken.iter().map(|(choice, _)| *choice).collect()
    }

    /// Gives the script that comes next when one way after the other is tried, the last first.
    pub(crate) fn next(&self) -> Option<Vec<usize>> {
        let turn = self.taken.iter().rposition(|(choice, ways)| choice + 1 < *ways)?;
        let mut script = self.answers();
        script.truncate(turn + 1);
        script[turn] += 1;
        Some(script)
    }
}

fn below(drawn: u64, ways: usize) -> usize {
    usize::try_from(drawn % u64::try_from(ways).unwrap()).unwrap()
}

/// `SplitMix64`: good enough to shuffle, and the same everywhere.
const fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[test]
fn one_after_the_other_every_way_is_taken_once() {
    let mut script = Some(Vec::new());
    let mut ways = Vec::new();
    while let Some(now) = script {
        let mut schedule = Schedule::scripted(now);
        // The second question depends on the first answer.
        if schedule.pick(2) == 0 {
            schedule.pick(3);
        }
        ways.push(schedule.answers());
        script = schedule.next();
    }
    assert_eq!(ways, [vec![0, 0], vec![0, 1], vec![0, 2], vec![1]]);
}
