//! A dishonest operator, and everybody else who may try: each attack is carried out on a real, finished election, with the keys that the attacker would really hold.
//!
//! The operator signs everything anew ([`tests::forge`]), so that what is found is what the ledger's rules and other people's evidence find, not a broken byte.
//! Each case says **who**, what they **hold**, what they **do**, and what **catches** it. Its number is the row of the table in `specs/threat-model.md`.
#![allow(clippy::tests_outside_test_module)]

mod database;
mod mutations;
mod operator;
mod registrar;
mod rules;
mod stage;
mod table;
mod voter;
