# frozen_string_literal: true

# Entry of the managed Ruby runtime: reads its environment, loads the function, answers one invocation after the other.
# The directory appears read-only at /var/runtime in a sandbox. Standard library only, Ruby 3.1 and later; it imports
# nothing of the service, and the service nothing of it.

require "json"
require "socket"

require_relative "_lamplighter/context"
require_relative "_lamplighter/faults"
require_relative "_lamplighter/handler"
require_relative "_lamplighter/log"
require_relative "_lamplighter/runtime_api"

module Lamplighter
  ORDER = 4 # the descriptor on which a process that waits is told the variables
  FRAMES = "_LAMBDA_TELEMETRY_LOG_FD" # was known from the start

  # A process that was started before anybody knew for which function becomes like any other.
  def self.wait_for_a_function
    order = IO.for_fd(ORDER, "r")
    variables = JSON.parse(order.read)
    order.close
    frames = ENV[FRAMES]
    ENV.replace(frames ? variables.merge(FRAMES => frames) : variables)
    Dir.chdir(ENV.fetch("LAMBDA_TASK_ROOT"))
    $LOAD_PATH.unshift(*ENV.fetch("RUBYLIB", "").split(":")) # has been read at the start
    Gem.clear_paths if defined?(Gem)
  end

  def self.main
    wait_for_a_function if ENV.delete("LAMPLIGHTER_WAITS")
    $stdout.sync = $stderr.sync = true
    log = Log.new(ENV.delete(FRAMES))
    log.shape_loggers
    api = RuntimeApi.new(ENV.fetch("AWS_LAMBDA_RUNTIME_API"))
    $LOAD_PATH.unshift(ENV.fetch("LAMBDA_TASK_ROOT"))
    handler = load(api, log)
    loop { answer(api, log, handler, api.next) }
  end

  def self.load(api, log)
    Handler.new(ENV.fetch("_HANDLER"))
  rescue Exception => e # whatever the function's code does, exit and signals among it
    fault = Fault.of(e, "Init")
    log.report("Init error when loading handler #{ENV.fetch('_HANDLER')}", fault)
    api.init_error(fault)
    exit!(fault.exit_code)
  end

  def self.answer(api, log, handler, invocation)
    log.request_id = invocation.request_id
    ENV["_X_AMZN_TRACE_ID"] = invocation.trace_id if invocation.trace_id
    event = invocation.event
    body, type = Handler.serialise(handler.call(event, Context.new(invocation)))
    api.response(invocation.request_id, body, type)
  rescue Exception => e
    fault = Fault.of(e, "Function")
    log.report(fault.critical? ? "Critical exception from handler" : "Error raised from handler method", fault)
    api.error(invocation.request_id, fault)
    exit!(fault.exit_code) if fault.critical?
  ensure
    log.request_id = nil
  end
end

Lamplighter.main if $PROGRAM_NAME == __FILE__
