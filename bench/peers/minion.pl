#!/usr/bin/env perl
# A worker in Perl: "minion" is Minion's own backend, called directly, without a process for each job; "extension" and
# "extension-batches" are the functions of the extension, through the same driver. See ../src/peer.rs.
use strict;
use warnings;

# Where bench/peers/install unpacks Debian's packages.
use lib map { glob "$ENV{PEERS}/minion/usr/$_" } 'share/perl5', 'lib/*/perl5/5*';
use Mojo::JSON qw(encode_json);
use Mojo::Pg;
use Time::HiRes qw(time);

$| = 1;
my $mode = shift // '';
if ($mode eq 'version') {
    require Minion;
    print "$Minion::VERSION (Mojo::Pg $Mojo::Pg::VERSION, Perl $^V)\n";
    exit;
}

my $pg = Mojo::Pg->new;
my %queue = $mode eq 'minion' ? minion() : extension();

# The answer to each command is a line of JSON. The first one says that the worker is there.
answer({ready => 1});
while (defined(my $line = <STDIN>)) {
    my ($command, $number) = split ' ', $line;
    if ($command eq 'enqueue' || $command eq 'work') { answer(repeat($queue{$command}, $number)) }
    elsif ($command eq 'cycle')                      { answer(cycle($number)) }
    else                                             { $queue{$command}->($number); answer({}) }
}

sub answer { print encode_json(shift), "\n" }

# Until the time is over or there is nothing to do.
sub repeat {
    my ($step, $seconds) = @_;
    my ($began, $last, $jobs) = (time, time, 0);
    while ($last < $began + $seconds) {
        my $done = $step->() or last;
        $jobs += $done;
        $last = time;
    }
    return {jobs => $jobs, seconds => $last - $began};
}

sub cycle {
    my $seconds = shift;
    my $began   = time;
    my @each    = (0) x $seconds;
    while ((my $second = int(time - $began)) < $seconds) {
        $queue{enqueue}->();
        $each[$second] += $queue{work}->();
    }
    return {each => \@each};
}

sub minion {
    require Minion;
    my $minion  = Minion->new(Pg => $pg);
    my $backend = $minion->backend;
    $minion->add_task(bench => sub { });
    my $worker;
    return (
        reset    => sub { $minion->reset({all => 1}) },
        register => sub { $worker = $backend->register_worker },
        fill     => sub { $backend->enqueue('bench') for 1 .. shift },
        enqueue  => sub { $backend->enqueue('bench'); 1 },
        work     => sub {
            my $job = $backend->dequeue($worker, 0, {}) or return 0;
            $backend->finish_job($job->{id}, $job->{retries}) or die "finish_job said no\n";
            return 1;
        }
    );
}

sub extension {
    my $db = $pg->db;
    my $worker;
    my %shared = (
        reset    => sub { $db->query("SELECT minion.reset('all')") },
        register => sub { $worker = $db->query('SELECT minion.register_worker()')->array->[0] }
    );
    return (
        %shared,
        enqueue => sub { $db->query('SELECT minion.enqueue(?)', 'bench')->array; 1 },
        work    => sub {
            my $job = $db->query('SELECT * FROM minion.dequeue(?)', $worker)->expand->hash or return 0;
            $db->query('SELECT minion.finish_job(?, ?)', $job->{id}, $job->{retries})->array->[0]
                or die "finish_job said no\n";
            return 1;
        }
    ) if $mode eq 'extension';

    my $many = encode_json([map { {task => 'bench'} } 1 .. 1000]);
    return (
        %shared,
        enqueue => sub { $db->query('SELECT count(*) FROM minion.enqueue_many(?::jsonb)', $many)->array->[0] },
        work    => sub {
            my $jobs = $db->query('SELECT * FROM minion.dequeue(?, max_jobs => 100)', $worker)->expand->hashes;
            return $db->query('SELECT count(*) FROM minion.finish_jobs(?::bigint[], ?::int[])',
                [map { $_->{id} } @$jobs], [map { $_->{retries} } @$jobs])->array->[0];
        }
    ) if $mode eq 'extension-batches';

    die "no such mode: $mode\n";
}
