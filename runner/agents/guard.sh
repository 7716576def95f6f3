#!/bin/sh
# Passes on what an agent says, as it comes: with a space before each line that pretends to be one of the script's own
# markers, and a newline at the end. Any bytes, and lines of any length: no more than one read and a marker are in memory
# at a time, except with awk, the last resort, which needs room for a line. Deaf to TERM: it ends with its input.
trap '' TERM INT HUP
unset NODE_OPTIONS PERL5OPT PERL5LIB PERL_UNICODE
export LC_ALL=C mark=PRELOOP_AGENT_EXEC_

has() { command -v "$1" >/dev/null 2>&1; }

# Each holds back the beginning of a marker until it knows; `last` is the byte before it, a newline at the start.

has perl && exec perl -e '
my ($last, $held) = ("\n", "");
$| = 1;
while (sysread STDIN, my $read, 65536) {
    my $text = $last . $held . $read;
    $text =~ s/\n$ENV{mark}/\n $ENV{mark}/g;
    $held = "";
    for my $n (reverse 1 .. length($ENV{mark}) - 1) {
        $held = substr $ENV{mark}, 0, $n;
        last if substr($text, -$n - 1) eq "\n$held";
        $held = "";
    }
    print substr($text, 1, length($text) - 1 - length $held) or exit 1;
    $last = substr $text, -1 - length $held, 1;
}
print "$held\n" or exit 1 if $held ne "" || $last ne "\n";
'

has python3 && exec python3 -I -S -c '
import os
mark, last, held = os.environb[b"mark"], b"\n", b""
with open(1, "wb") as out:
    while read := os.read(0, 65536):
        text = (last + held + read).replace(b"\n" + mark, b"\n " + mark)
        held = next((mark[:n] for n in range(len(mark) - 1, 0, -1) if text.endswith(b"\n" + mark[:n])), b"")
        out.write(text[1 : len(text) - len(held)])
        out.flush()
        last = text[len(text) - len(held) - 1 :][:1]
    if held or last != b"\n":
        out.write(held + b"\n")
'

# node forgets that it is deaf to signals.
has node && exec node -e '
const { readSync, writeSync } = require("fs")
for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"]) process.on(signal, () => {})
const mark = process.env.mark
const room = Buffer.alloc(65536)
let last = "\n", held = ""
const patiently = act => {
  for (;;)
    try { return act() } catch (failure) {
      if (failure.code !== "EAGAIN") throw failure
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10)
    }
}
const write = bytes => {
  while (bytes.length) bytes = bytes.subarray(patiently(() => writeSync(1, bytes)))
}
for (let n; (n = patiently(() => readSync(0, room))); ) {
  const read = room.subarray(0, n)
  if (!held && read[n - 1] === 10 && read.indexOf(mark) < 0) {
    write(read)
    last = "\n"
    continue
  }
  const text = (last + held + room.latin1Slice(0, n)).replaceAll("\n" + mark, "\n " + mark)
  for (held = mark.slice(0, -1); held && !text.endsWith("\n" + held); ) held = held.slice(0, -1)
  write(Buffer.from(text.slice(1, text.length - held.length), "latin1"))
  last = text.at(-1 - held.length)
}
if (held || last !== "\n") write(Buffer.from(held + "\n"))
'

# mawk reads ahead unless it is told not to; the others must not be told.
interactive=
case $(awk -W version 2>&1 </dev/null) in mawk*) interactive=interactive ;; esac
exec awk ${interactive:+-W "$interactive"} '/^PRELOOP_AGENT_EXEC_/ { $0 = " " $0 } { print; fflush() }'
