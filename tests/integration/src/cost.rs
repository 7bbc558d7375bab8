//! What calls look at, in buffers, which do not depend on the machine.

use crate::Ask;
use crate::heads::run;
use postgres::Client;
use serde_json::Value;

/// The buffers that a call looks at.
pub fn cost(client: &mut Client, call: &str) -> i64 {
    let plan: Value = client.one(&format!("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {call}"), &[]);
    let blocks = |name: &str| plan[0]["Plan"][name].as_i64().expect("a number of blocks");
    blocks("Shared Hit Blocks") + blocks("Shared Read Blocks")
}

/// The usual one of nine calls, each after `between`: once a second one of them sees whether all is as it is known.
pub fn usual(client: &mut Client, call: &str, between: &str) -> i64 {
    let mut costs: Vec<i64> = (0..9)
        .map(|_| {
            run(client, between);
            cost(client, call)
        })
        .collect();
    costs.sort_unstable();
    costs[4]
}
