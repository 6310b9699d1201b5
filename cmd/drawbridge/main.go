// Command drawbridge joins IRC channels to encrypted Jabber contacts and rooms.
package main

func main() {}
