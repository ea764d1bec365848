//! Ready-made parts of a server.

mod key_file;
mod password;
pub mod users;
