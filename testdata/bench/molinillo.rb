#!/usr/bin/env ruby
# frozen_string_literal: true

# Molinillo (CocoaPods, once Bundler) over .g graphs; takes the options of graph.py
# and prints the same lines. A query past its limit is given up; a cycle between
# versions is refused by Molinillo itself.

require 'molinillo'

LARGE = 10_000
Req = Struct.new(:name, :mask)
Spec = Struct.new(:name, :rank, :lines)
GiveUp = Class.new(StandardError)

def clock
  Process.clock_gettime(Process::CLOCK_MONOTONIC)
end

# Graph is the specifications and the user interface of one graph.
class Graph
  include Molinillo::SpecificationProvider
  include Molinillo::UI
  attr_reader :packages
  attr_writer :stop

  def initialize(file)
    @packages = {}
    @reqs = {}
    @found = {}
    @stop = 0
    name = versions = nil
    File.foreach(file, chomp: true) do |line|
      rest = line[2..]
      case line[0]
      when 'P'
        name = rest.split(' ', 2)[0]
        versions = @packages[name] = []
      when 'V' then versions << Spec.new(name, versions.size, [])
      when 'D' then versions[-1].lines << rest
      end
    end
  end

  def queries
    return [@packages.first[1][-1]] if @packages.sum { |_, vs| vs.size } > LARGE

    qs = @packages.values.flatten
    step = 7919
    step += 1 while step.gcd(qs.size) > 1
    Array.new(qs.size) { |i| qs[i * step % qs.size] }
  end

  def req(line)
    @reqs[line] ||= begin
      name, ranges = line.split(' ', 2)
      n = @packages.fetch(name, []).size
      mask = (ranges || '').split(',').sum do |r|
        lo, hi = r.split('-').map { |x| [x.to_i, n].min }
        lo < hi ? (1 << hi) - (1 << lo) : 0
      end
      Req.new(name, mask)
    end
  end

  def check
    raise GiveUp if clock > @stop
  end

  def search_for(dep)
    check
    @found[dep] ||= @packages.fetch(dep.name, []).select { |s| dep.mask[s.rank] == 1 }
  end

  def dependencies_for(spec) = spec.lines.map { |l| req(l) }

  def requirement_satisfied_by?(dep, activated, spec)
    check
    dep.mask[spec.rank] == 1
  end

  def name_for(dep) = dep.name

  def sort_dependencies(deps, activated, conflicts)
    deps.sort_by do |d|
      v = activated.vertex_named(d.name)
      [v&.payload ? 0 : 1, conflicts[d.name] ? 0 : 1, search_for(d).size]
    end
  end

  def output = File.open(File::NULL, 'w')
  def before_resolution; end
  def after_resolution; end
  def indicate_progress = check
  def debug(_depth = 0); end

  def ask(spec, limit)
    @stop = clock + limit
    Molinillo::Resolver.new(self, self).resolve([Req.new(spec.name, 1 << spec.rank)], Molinillo::DependencyGraph.new)
    true
  rescue Molinillo::VersionConflict
    false
  end
end

opts = { '--sample' => 1 << 30, '--limit' => 60, '--budget' => 60 }
opts[ARGV.shift] = ARGV.shift.to_f while ARGV[0].start_with?('--')

ARGV.each do |file|
  g = Graph.new(file)
  qs = g.queries
  known = {}
  if File.exist?("#{file}.libsolv")
    File.foreach("#{file}.libsolv") { |l| l.split.then { |n, v, a| known[[n, v.to_i]] = a == '1' } }
  end
  took = []
  gave_up = refused = differ = 0
  stop = clock + opts['--budget']
  qs.first(opts['--sample'].to_i).each do |q|
    start = clock
    break if start > stop

    begin
      got = g.ask(q, opts['--limit'])
      differ += 1 if known.fetch([q.name, q.rank], got) != got
    rescue GiveUp
      gave_up += 1
    rescue Molinillo::CircularDependencyError
      refused += 1
      next
    end
    took << (clock - start)
  end
  ns = [took.sum, took.max || 0].map { |s| (s * 1e9).to_i }
  puts [File.basename(file), 'molinillo', qs.size, took.size + refused, gave_up, refused, differ, *ns].join("\t")
  $stdout.flush
end
