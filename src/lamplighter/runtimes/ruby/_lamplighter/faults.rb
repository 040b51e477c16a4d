# frozen_string_literal: true

module Lamplighter
  # An exception as callers and logs see it. `phase`: "Init" or "Function".
  class Fault
    LONGEST_CAUSE = 1_000_000 # of the X-Ray header, above which AWS doesn't take it

    attr_reader :type, :exit_code

    def self.of(exception, phase)
      new(exception, phase)
    end

    def initialize(exception, phase)
      @exception = exception
      @phase = phase
      @type = "#{phase}<#{exception.class}>"
      @exit_code = exception.is_a?(SystemExit) ? exception.status : 1
    end

    # After these the process ends, as the function's code can't be trusted to be whole: a name that isn't there, and
    # what isn't meant to be rescued (SystemExit, NoMemoryError, LoadError, a stack too deep).
    def critical?
      @phase == "Init" || @exception.is_a?(NameError) || !@exception.is_a?(StandardError)
    end

    def response
      @response ||= { "errorMessage" => text(@exception.message), "errorType" => @type, "stackTrace" => stack }
    end

    # For the header Lambda-Runtime-Function-XRay-Error-Cause.
    def cause
      frames = (@exception.backtrace_locations || []).map do |at|
        { "path" => text(at.path), "line" => at.lineno, "label" => text(at.label) }
      end
      exceptions = [{ "type" => @type, "message" => response["errorMessage"], "stack" => frames }]
      made = JSON.generate("working_directory" => Dir.pwd, "paths" => frames.map { |at| at["path"] }.uniq,
                           "exceptions" => exceptions)
      made.bytesize < LONGEST_CAUSE ? made : nil
    end

    private

    # What is the function's: down to the runtime's own frames, below which there may be some of Ruby itself.
    def stack
      lines = (@exception.backtrace || []).map { |line| text(line) }
      lines.drop_while { |line| line.start_with?(OWN) }.take_while { |line| !line.start_with?(OWN) }
    end

    OWN = File.dirname(__dir__)
    private_constant :OWN

    def text(value)
      value = value.to_s
      value = value.dup.force_encoding(Encoding::UTF_8) if value.encoding == Encoding::ASCII_8BIT
      value.encode(Encoding::UTF_8, invalid: :replace, undef: :replace).scrub
    end
  end
end
