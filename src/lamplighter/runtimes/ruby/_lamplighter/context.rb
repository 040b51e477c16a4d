# frozen_string_literal: true

module Lamplighter
  # What a function is told about its invocation, with the members that AWS documents for Ruby.
  class Context
    attr_reader :aws_request_id, :invoked_function_arn, :log_group_name, :log_stream_name, :function_name,
                :memory_limit_in_mb, :function_version, :identity, :client_context, :deadline_ms, :clock_diff

    def initialize(invocation)
      @clock_diff = 0 # the runtime's clock is the service's
      @deadline_ms = invocation.deadline_ms
      @aws_request_id = invocation.request_id
      @invoked_function_arn = invocation.function_arn
      @log_group_name = ENV["AWS_LAMBDA_LOG_GROUP_NAME"]
      @log_stream_name = ENV["AWS_LAMBDA_LOG_STREAM_NAME"]
      @function_name = ENV["AWS_LAMBDA_FUNCTION_NAME"]
      @memory_limit_in_mb = ENV["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
      @function_version = ENV["AWS_LAMBDA_FUNCTION_VERSION"]
      @identity = invocation.identity
      @client_context = invocation.client_context
    end

    def get_remaining_time_in_millis
      [@deadline_ms - Process.clock_gettime(Process::CLOCK_REALTIME, :millisecond), 0].max
    end
  end
end
