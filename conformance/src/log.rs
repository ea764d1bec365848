//! What a test says past the test harness' capture: tables, and what was not run.

use std::io::Write;

/// Prints to standard error even when the test harness captures output, in one write.
pub fn say(text: &str) {
    let mut line = String::from(text);
    if !line.ends_with('\n') {
        line.push('\n');
    }
    // Nobody listens on a closed stderr.
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}
