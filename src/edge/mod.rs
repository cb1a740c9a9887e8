//! Pingora: listener, phases, pass-through, header and Host hygiene, body peeking, drain. The only module that sees a
//! Pingora type.
