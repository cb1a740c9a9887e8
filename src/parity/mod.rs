//! The parity suite: drives the Python gateway and the edge with the same cases through their public faces and compares.
//! It must never use the inside of the edge.
