//! Where memory comes from, and that it goes back: jemalloc, which gives the system what a storm of sessions needed. The system's own
//! allocator keeps it for good.
//!
//! Settings are made here, and not while jemalloc is built, so that they hold wherever mailward is built.

use tikv_jemalloc_ctl::{Access, AsName, background_thread};
use tikv_jemallocator::Jemalloc;

/// aws-lc allocates by it too: it takes the place of malloc.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// How long memory that nobody uses is kept for who may want it next, in milliseconds. jemalloc's own is ten seconds.
const KEPT: isize = 250;

/// What threads to come allocate from, and what this one does, which is to be the only one yet.
const ARENAS: [&str; 2] = ["arenas.dirty_decay_ms\0", "arena.0.dirty_decay_ms\0"];

/// Whether this thread keeps blocks at hand, for which it then need not ask anybody.
const AT_HAND: &str = "thread.tcache.enabled\0";

/// Has memory given back that was not used for [`KEPT`]. To be called before there are other threads.
pub(crate) fn settle() {
    // Where one of these fails, memory stays longer, and that is all.
    for arena in ARENAS {
        let _ = arena.name().write(KEPT);
    }
    // On musl jemalloc's thread is known not to work. There memory goes back only while some is asked for.
    if cfg!(not(target_env = "musl")) {
        let _ = background_thread::write(true);
    }
}

/// Gives back the blocks that this thread keeps at hand: a few hundred of each size, and each may be the last of many pages.
pub(crate) fn give_back() {
    // Where it is not done, they stay, and that is all.
    for keeps in [false, true] {
        let _ = AT_HAND.name().write(keeps);
    }
}
