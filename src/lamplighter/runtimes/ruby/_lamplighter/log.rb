# frozen_string_literal: true

require "logger"

module Lamplighter
  # What a Logger wants to write to.
  Device = Struct.new(:log) do
    def write(text) = log.write(text.to_s.chomp)
    def close; end
  end

  # Where reports and loggers write: as framed records where there is a descriptor for them, so that what has many lines
  # is one log event; else to standard output.
  class Log
    MARK = 0xA55A0003 # of a text; the level is above the last two bits
    LEVELS = { "DEBUG" => 2, "INFO" => 3, "WARN" => 4, "ERROR" => 5, "FATAL" => 6 }.freeze

    attr_accessor :request_id

    def initialize(descriptor)
      @frames = descriptor && IO.for_fd(descriptor.to_i, "w", autoclose: false)
      @frames&.sync = true
    end

    def write(text, level = nil)
      return $stdout.write("#{text}\n") unless @frames

      text = text.b
      time = Process.clock_gettime(Process::CLOCK_REALTIME, :microsecond)
      @frames.write([MARK | (LEVELS.fetch(level, 0) << 2), text.bytesize, time].pack("NNQ>") + text)
    end

    def report(title, fault)
      write("#{title}\n#{JSON.pretty_generate(fault.response)}", "ERROR")
    end

    # A Logger that writes to standard output or error writes as AWS's does: with the request's id, and here.
    def shape_loggers
      log = self
      Logger.prepend(Module.new do
        define_method(:initialize) do |device = nil, *rest, **options|
          if [$stdout, $stderr, STDOUT, STDERR].include?(device)
            options[:formatter] ||= log.method(:format)
            device = Device.new(log)
          end
          super(device, *rest, **options)
        end
      end)
    end

    def format(severity, time, progname, message)
      text = message.is_a?(String) ? message : message.is_a?(Exception) ? described(message) : message.inspect
      "#{severity[0]}, [#{time.strftime('%Y-%m-%dT%H:%M:%S.%6N')} ##{Process.pid}] #{severity.rjust(5)} " \
        "RequestId: #{request_id} -- #{progname}: #{text}\n"
    end

    private

    def described(exception)
      "#{exception.message} (#{exception.class})\n#{(exception.backtrace || []).join("\n")}"
    end
  end
end
