// Package discovery finds out where other nodes may be dialled.
//
// Strategies look at the outside world (a list, DNS, a file, an API server) and
// report what they see. The [Manager] runs them, merges what they say with what
// the overlay tells about who is alive, and hands the overlay a list of
// contacts. Discovery advises; it never connects or disconnects anything, and
// absence from a source alone removes nobody:
//
//   - An observation is complete, partial or a delta; a source that cannot be
//     asked reports a failure, which changes nothing. Only a complete
//     observation or a delta withdraws.
//   - A candidate is forgotten when every source that ever vouched for it has
//     withdrawn it for the grace, and the overlay does not see it alive.
//   - An empty answer after a non-empty one, and an answer that lacks more than
//     half of the peers that the overlay sees alive, must be confirmed three
//     times over the grace before it counts.
//
// Two words never blur here. An address is where something may be dialled; a
// node ID is who answered. Strategies know addresses only. The ID of a node is
// an opaque string to this package.
//
// The rules are a pure state machine (ledger) that takes the time as an
// argument; the Manager is the loop around it.
package discovery
