//! A new migration file must be compiled in, though no Rust file changed.
fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
