//! How sessions tell each other that there is work.

pub mod wake;
