//! Every op problem on the adapter of this browser, against the reference; and what happens when things go wrong.
