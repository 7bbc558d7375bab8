//! Numbers: how many jobs there are, and what shared memory knows. (What else shows some is SQL.)

mod counts;
mod lanes;
