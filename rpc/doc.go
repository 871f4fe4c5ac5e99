// Package rpc stands between the overlay and the local applications: it knows
// which application serves what, hands calls to them within bounds, chooses the
// targets of their own calls, and gathers one verdict for each target. It knows
// no socket and no encoding (that is rpc/local), it keeps nothing on disk, and
// it never makes the overlay wait for an application.
//
// The way of the data: an application's calls go down through [Mesh.Submit];
// what becomes of them comes up through [Service.Handle], on the overlay's loop,
// and is queued for whoever asked. An [App] is one application's queues: its
// transport takes items out at its own pace, within credit, and what does not
// fit is refused, told as a gap, or ends the application, never dropped in
// silence.
package rpc
