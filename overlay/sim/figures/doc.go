// Package figures measures the protocols in virtual time and sets each figure beside the papers' and our goals. It is a test
// that prints a report and compares it with the committed one: a row that got worse, or is gone, fails. It never reads a
// clock: the same code gives the same figures on every machine.
package figures
