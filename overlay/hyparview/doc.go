// Package hyparview decides which links a node holds: a small active view of
// peers with an open link each, and a larger passive view of peers to try when
// a link is lost. It never dials, sends, waits or logs: it is told what
// happened and appends what is to be done.
//
// It follows HyParView (Leitão, Pereira, Rodrigues: HyParView, DSN 2007, and
// TR-07-13), with these differences, each for a defect seen without it:
//
//   - A link is a connection. Requests and answers travel on the connection
//     itself, and closing it is the only disconnect. The paper's DISCONNECT
//     message leaves one-sided links behind.
//   - Every request is answered. A full node redirects a joiner (it names others
//     and sends walks for it) where the paper's evicts a member.
//   - A walk that ends at a full node splits an edge: that node takes the joiner,
//     drops a member and names the joiner to it. The joiner gains two links,
//     nobody loses one, so views only fill up.
//   - The active view refills to its maximum, and a member lost by eviction is
//     replaced at the next tick, not at once.
//   - Who evicted, failed or refused is not asked for a while (cool-down).
//   - A demoted link drains before it is closed.
//
// An accepted link belongs to the requester's peer from its request on; the
// dialling side counts it from the Accept on. When both dial at once, the
// connection dialled by the lower ID stays; otherwise the newest request wins,
// for who asks again has lost the old link.
package hyparview
