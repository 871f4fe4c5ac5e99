// Package sock reads and writes stream sockets at the least cost to an
// otherwise idle process. It opens nothing, and knows nothing of what the bytes
// mean.
//
// Go announces every system call to its scheduler, because any might block. In a
// process that was asleep, that wakes the runtime's monitor thread
// (runtime.sysmon), which then looks around every 20 µs until all is quiet
// again. A sidecar sleeps most of the time, wakes for one message and sleeps
// again: the monitor alone took a fifth of its time. Sockets in Go do not block
// anyway, so here their calls are not announced.
package sock
