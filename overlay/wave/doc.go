// Package wave asks everybody at once and learns, node by node, what came of
// it. It is machine 4 of the core: the echo wave (Segall's propagation of
// information with feedback, Chang's echo algorithm, 1982-83) with receipts,
// testimony, partial flush, a budget, orphans that are adopted, a direct phase
// for whom the wave did not reach, and windows that let no call run twice on
// one node. It decides; it never sends, waits, or runs a handler.
//
// How a call goes. The caller sends CALL on all its links. A node takes the
// first sender as its parent and answers TOOK, writes CALL on all its other
// links, then dispatches. A link is resolved by the other side's CALL crossing
// ours, by SEEN, by TOOK and later ECHO (a child, done), or by its end. When all
// links but the parent's are resolved and its own result is there, a node
// echoes. The caller knows when the wave has ended, without a timer.
//
// When every target is a neighbour the call is a star: round 0, one hop. Links
// that break or stay silent turn it into the full wave, round 1, under the
// same ID. A few targets of many are asked directly, without a wave.
package wave
