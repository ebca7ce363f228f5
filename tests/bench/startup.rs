//! From the start of a process to the first good answer.

use std::{io, time::Instant};

use crate::{
    contenders::{Contender, Stage},
    figures::{Row, Unit},
};

/// Starts the contenders in turn.
pub(crate) fn measure(stage: &Stage, starts: usize) -> io::Result<Vec<Row>> {
    let mut start = Row::new("start to first answer", Unit::Millis);
    let mut mint = Row::new("a mint, of that", Unit::Millis);
    let contenders = Contender::answering();
    for _ in 0..starts {
        mint.push(Contender::Bearerd, stage.issuer.mint()?);
        for contender in &contenders {
            start.push(*contender, start_once(stage, *contender)?);
        }
    }
    Ok(vec![start, mint])
}

fn start_once(stage: &Stage, contender: Contender) -> io::Result<f64> {
    let began = Instant::now();
    let mut server = stage.start(contender)?;
    server.first_answer()?;
    Ok(began.elapsed().as_secs_f64())
}
