//! The programs people read and send mail with, each as a builder that ends in what the program printed.

pub mod curl;
pub mod mbsync;
pub mod openssl;
pub mod python;
pub mod swaks;
pub mod target;
pub mod testssl;
