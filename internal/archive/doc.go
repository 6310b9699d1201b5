// Package archive turns channel logs of irssi, WeeChat and ZNC into one page that
// is searched without a network. It holds a few lines at a time, whatever the size
// of the logs, and writes to where it is told only: its caller encrypts.
package archive
