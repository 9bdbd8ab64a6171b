//! One table of cases for two data planes: the same manifests and calls, with our proxy as every sidecar and with
//! stock Envoy, under the same control plane and in one mesh. A difference is a failure of one column, and its name
//! says which case.
//!
//! The table is `cases/*.yaml`. A case applies its resources in the column's namespace, calls until everything is as
//! expected at once, and takes the resources away again.

mod answer;
mod call;
mod table;
mod world;

use crate::support::{self, Rung, Shared};
use libtest_mimic::Trial;
use std::sync::Arc;
use world::World;

/// The data plane of a column. Its namespace has its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Column {
    Mizzen,
    Envoy,
}

impl Column {
    pub fn name(self) -> &'static str {
        match self {
            Self::Mizzen => "mizzen",
            Self::Envoy => "envoy",
        }
    }
}

/// One trial for each case and column, and the end of their mesh.
pub fn trials(rung: Rung, runnable: bool) -> Vec<Trial> {
    let envoy = support::envoy();
    if let Some(reason) = support::missing_envoy() {
        println!("skipped, stock Envoy's column: {reason}");
    }
    let world = Arc::new(World::new(Shared::new(rung), envoy.clone()));
    let mut trials = Vec::new();
    for column in [Column::Mizzen, Column::Envoy] {
        let ignored = !runnable || (column == Column::Envoy && envoy.is_none());
        for case in table::cases(column.name()) {
            let world = Arc::clone(&world);
            let name = format!("traffic::{}::{}", column.name(), case.name);
            let run = move || world.show(column, &case).map_err(|error| format!("{error:#}").into());
            trials.push(Trial::test(name, run).with_ignored_flag(ignored));
        }
    }
    let end = move || world.finish().map_err(|error| format!("{error:#}").into());
    trials.push(Trial::test("traffic::nothing_is_left_behind", end).with_ignored_flag(!runnable));
    trials
}
