//! What is measured, in which order, and for how long: the order puts what is compared side by side, and the times
//! keep a whole run at about ten minutes on two cores.
use std::time::Duration;

use crate::{
    gateway::Kind,
    options::Options,
    works::{WORKS, Work},
};

/// One work under one load; every gateway is measured at it before the next one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Cell {
    pub(crate) work: &'static Work,
    pub(crate) connections: usize,
    /// requests a second; None: as fast as they are answered
    pub(crate) rate: Option<f64>,
}

/// A load, the works that are run under it, and what it asks of the gateways.
struct Load {
    connections: usize,
    rate: Option<f64>,
    works: fn(&Work) -> bool,
    seconds: f64,
    python: Python,
}

#[derive(Clone, Copy, PartialEq)]
enum Python {
    Every,
    /// `python-1` and `python-2` in the first round only: 200 requests of 20 to 130 ms each take long enough once
    Once,
    Never,
}

fn json_1k(work: &Work) -> bool {
    !work.stream && work.size == 1_000
}

/// Few connections first: memory that a load has made a gateway take stays with it.
const LOADS: &[Load] = &[
    Load { connections: 1, rate: None, works: |_| true, seconds: 0.8, python: Python::Every },
    Load { connections: 1, rate: Some(20.0), works: json_1k, seconds: 2.0, python: Python::Every },
    Load { connections: 16, rate: Some(2_000.0), works: json_1k, seconds: 2.0, python: Python::Never },
    Load { connections: 50, rate: None, works: |work| !work.paced, seconds: 0.8, python: Python::Every },
    Load { connections: 200, rate: None, works: |work| !work.paced, seconds: 0.8, python: Python::Once },
];

const QUICK: &[Load] = &[
    Load { connections: 1, rate: None, works: |_| true, seconds: 0.02, python: Python::Every },
    Load { connections: 2, rate: Some(100.0), works: json_1k, seconds: 0.1, python: Python::Every },
    Load { connections: 8, rate: None, works: |work| !work.paced, seconds: 0.02, python: Python::Every },
];

impl Cell {
    pub(crate) fn name(&self) -> String {
        format!("{}, {}", self.work.name, load_name(self.connections, self.rate))
    }

    fn load(&self, quick: bool) -> Option<&'static Load> {
        let loads = if quick { QUICK } else { LOADS };
        loads.iter().find(|load| (load.connections, load.rate) == (self.connections, self.rate))
    }

    /// How long to measure this gateway in this round (counted from 0); None: not at all.
    pub(crate) fn length(&self, kind: Kind, round: u32, quick: bool) -> Option<Duration> {
        let load = self.load(quick)?;
        let measured = match (kind, load.python) {
            (Kind::EdgePython, Python::Once) => false,
            (kind, Python::Once) if kind.is_slow() => round == 0,
            (kind, Python::Never) => !kind.is_slow(),
            _ => true,
        };
        measured.then(|| Duration::from_secs_f64(load.seconds))
    }
}

/// "50 connections" or "20 requests/s".
pub(crate) fn load_name(connections: usize, rate: Option<f64>) -> String {
    let plural = if connections == 1 { "" } else { "s" };
    match rate {
        None => format!("{connections} connection{plural}"),
        Some(rate) => format!("{rate} requests/s on {connections} connection{plural}"),
    }
}

/// All cells in their order.
pub(crate) fn cells(options: &Options) -> Vec<Cell> {
    let wanted = |work: &&Work| {
        let named = work.name == options.only;
        // a paced work names an end user: that is another kind of request
        if options.keys && work.paced {
            return false;
        }
        named || (work.standard && work.name.contains(&options.only))
    };
    let loads = if options.quick { QUICK } else { LOADS };
    loads
        .iter()
        .filter(|load| options.connections.is_empty() || options.connections.contains(&load.connections))
        .flat_map(|load| {
            WORKS.iter().filter(wanted).filter(|work| (load.works)(work)).map(|work| Cell {
                work,
                connections: load.connections,
                rate: load.rate,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_every_work_at_every_load_that_was_asked_for() {
        let all = cells(&Options::default());
        for connections in [1, 50, 200] {
            for work in ["chat-json", "messages-json", "chat-stream", "messages-stream", "chat-100k"] {
                let has = |cell: &Cell| (cell.work.name, cell.connections, cell.rate) == (work, connections, None);
                assert_eq!(all.iter().filter(|cell| has(cell)).count(), 1, "{work} {connections}");
            }
        }
        for rate in [20.0, 2_000.0] {
            assert_eq!(all.iter().filter(|cell| cell.rate == Some(rate)).count(), 2);
        }
        let only = cells(&Options { only: "messages-100k".into(), connections: vec![50], ..Options::default() });
        assert_eq!(only.len(), 1);
    }

    #[test]
    fn python_is_asked_for_what_it_can_do() {
        let all = cells(&Options::default());
        let python = Kind::Python { workers: 1 };
        let lengths = |kind, round| all.iter().filter(|cell| cell.length(kind, round, false).is_some()).count();
        assert_eq!(lengths(Kind::EdgeNative, 0), all.len());
        assert_eq!((lengths(python, 0), lengths(python, 1)), (all.len() - 2, all.len() - 7));
        assert_eq!(lengths(Kind::EdgePython, 0), all.len() - 7);
    }
}
