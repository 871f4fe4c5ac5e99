// Package directory knows who is a member of the cluster and who is down: the
// third machine of the core. It keeps what every node says of itself, finds out
// who no longer answers, agrees with the others before it calls anybody down,
// and repairs differences with its neighbours. It decides; it never sends,
// waits, dials or logs: what it wants done it appends to a proto.Out.
//
// Three kinds of things are known of a node, each a register or a set that only
// grows, so that copies merge in any order (a CRDT without relayed dots):
//
//   - its entry, which it alone writes: higher incarnation, then higher version;
//   - opinions on that very incarnation and version, accuse or deny, each
//     written by its author under the author's counter;
//   - a certificate that it is down up to some incarnation.
//
// Status is derived from them and written by nobody. A node that hears itself
// accused answers with a higher version, which voids all opinions; one that
// hears itself certified comes back under the next incarnation.
//
// Sources: SWIM (Das, Gupta, Motivala, DSN 2002) for the split of detection and
// dissemination and for incarnations; Lifeguard (Dadgar, Phillips, Currey,
// 2017) for local health and the shrinking timer. Unlike both we watch along the
// overlay's links, ask a committee that everybody can compute, and certify.
//
// A Directory belongs to one caller at a time and holds no lock.
package directory
