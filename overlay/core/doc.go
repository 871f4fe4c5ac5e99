// Package core composes the overlay's four machines (views, broadcast,
// directory, calls) and what lies between them (pooled links, healing) into one
// state machine. It is pure: time, chance and the network come in as
// arguments, nothing here waits, locks or logs, and the same inputs tell the
// same story.
//
// The caller's contract: give every input to Step with a time that never runs
// backwards; carry out the outputs in order before the next Step; and give Wake
// when Deadline has come. Every Dial is answered by one LinkUp or DialFailed,
// every LinkUp followed by one LinkDown, every Dispatch by one LocalResult.
package core
