# What functions in Ruby do, well and badly: one case for each kind of answer and failure.

require "logger"
require "stringio"
require "net/http" if ENV["WITH_MORE"]

LOG = Logger.new($stdout)

def cases(event:, context:)
  case event["case"]
  when "echo" then event
  when "nothing" then nil
  when "text" then "späti"
  when "stream" then StringIO.new("as it is")
  when "context" then described(context)
  when "log"
    LOG.info("one\ntwo")
    LOG.warn { "from a block" }
    LOG.error(ArgumentError.new("an argument"))
    puts "printed"
    "logged"
  when "raise" then raise "an error"
  when "own" then raise Mine, "of my own"
  when "cause"
    begin
      raise "first"
    rescue StandardError
      raise ArgumentError, "second"
    end
  when "bytes" then raise "\xff\xfe".b
  when "unserialisable" then Float::NAN
  when "broken_text" then "\xff"
  when "name" then nowhere
  when "method" then nil.nowhere
  when "exit" then exit(3)
  when "abort" then abort("the end")
  when "load" then require "nowhere_at_all"
  when "deep" then cases(event: event, context: context)
  when "environment" then [ENV["_X_AMZN_TRACE_ID"], Dir.pwd == ENV["LAMBDA_TASK_ROOT"], $PROGRAM_NAME.end_with?("rb")]
  end
end

def without_context(event:)
  event
end

def described(context)
  { id: context.aws_request_id, arn: context.invoked_function_arn, group: context.log_group_name,
    stream: context.log_stream_name, name: context.function_name, memory: context.memory_limit_in_mb,
    version: context.function_version, identity: context.identity, client: context.client_context,
    deadline: context.deadline_ms, left: context.get_remaining_time_in_millis > 1000 }
end

class Mine < StandardError
end

module Outer
  class Inner
    def self.answer(event:, context:)
      [name, event["case"], context.aws_request_id]
    end
  end
end
