//! Nobody learns who voted for what: what the registrars hold and what the cells hold have no value in common, neither order nor time
//! joins them, and nothing that would is ever written to a log. Each check is also shown to fail.

mod detector;
mod dumps;
mod order;
mod trickle;
